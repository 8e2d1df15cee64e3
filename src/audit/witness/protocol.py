"""What is asked of a witness, and what it answers: C2SP's `add-checkpoint`, as text. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST_HASHES = 63  # of a proof
SIZE_TYPE, TEXT_TYPE = "text/x.tlog.size", "text/plain; charset=utf-8"
OK, BAD, FORBIDDEN, UNKNOWN, CONFLICT, WRONG = 200, 400, 403, 404, 409, 422
_OLD = re.compile(r"old (0|[1-9][0-9]{0,17})", re.ASCII)


@dataclass(frozen=True)
class Request:
    """Cosign the checkpoint of a signed note, of which the witness has cosigned `old` leaves; the proof shows that it
    begins with those."""

    old: int
    proof: Sequence[bytes]
    note: str

    @property
    def text(self) -> str:
        """As it is sent."""
        hashes = "".join(f"{base64.b64encode(one).decode()}\n" for one in self.proof)
        return f"old {self.old}\n{hashes}\n{self.note}"

    @classmethod
    def parse(cls, text: str) -> Request:
        """As it was sent; ValueError when it is none."""
        head, blank, note = text.partition("\n\n")
        first, *lines = head.split("\n")
        found = _OLD.fullmatch(first)
        if not found or not blank or len(lines) > MOST_HASHES:
            raise ValueError("expected 'old SIZE', at most 63 hashes, an empty line and a checkpoint")
        try:
            proof = [base64.b64decode(line, validate=True) for line in lines]
        except binascii.Error:
            proof = [b""]
        if any(len(one) != hashlib.sha256().digest_size for one in proof):
            raise ValueError("a line of the proof is no hash in base64")
        return cls(int(found[1]), proof, note)


@dataclass(frozen=True)
class Answer:
    """A status of HTTP's, and lines: cosignatures (200), a size (409), or why not."""

    status: int
    body: str

    @property
    def content_type(self) -> str:
        """Of the body."""
        return SIZE_TYPE if self.status == CONFLICT else TEXT_TYPE
