"""A witness: it cosigns the checkpoints of logs that only grew since it saw them, and keeps in a file what it saw.

It never cosigns two checkpoints of a log of which one does not begin with the other, whenever it is killed: what it
cosigned is on disk before anybody is told. Without its file it would cosign anything, so it does not work without.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.handlers.log.append import checkpoint_in
from audit.handlers.log.verifier import (
    COSIGNATURE,
    Checkpoint,
    Key,
    Wrong,
    check_consistency,
    open_note,
    signature_line,
)
from audit.witness.protocol import BAD, CONFLICT, FORBIDDEN, OK, UNKNOWN, WRONG, Answer, Request
from cellwave.errors import BadInput

_PRIVATE = "PRIVATE+KEY+"
EMPTY = Checkpoint("-", 0, b"\0" * 32)


@dataclass(frozen=True)
class Cosigner:
    """A witness's name and private key. As text it is as Go's sumdb/note has one: a secret."""

    name: str
    private: Ed25519PrivateKey

    @classmethod
    def new(cls, name: str) -> Cosigner:
        """With a new key."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str) -> Cosigner:
        """As it was written; ValueError when it is none."""
        name, identity, encoded = text.strip().removeprefix(_PRIVATE).split("+", 2)
        content = base64.b64decode(encoded, validate=True)
        found = cls(name, Ed25519PrivateKey.from_private_bytes(content[1:]))
        if content[0] != COSIGNATURE or found.key.identity.hex() != identity:
            raise ValueError("the key is of another kind, or its parts are of two keys")
        return found

    def dump(self) -> str:
        """As text."""
        content = base64.b64encode(bytes([COSIGNATURE]) + self.private.private_bytes_raw()).decode()
        return f"{_PRIVATE}{self.name}+{self.key.identity.hex()}+{content}\n"

    @property
    def key(self) -> Key:
        """By which its cosignatures are known."""
        return Key(self.name, COSIGNATURE, self.private.public_key().public_bytes_raw())

    def cosign(self, text: str, at: int) -> str:
        """A line of a note: that text was seen at that second."""
        signature = self.private.sign(f"cosignature/v1\ntime {at}\n{text}".encode())
        return signature_line(self.key, at.to_bytes(8, "big") + signature)


@dataclass(frozen=True)
class Kept:
    """The file in which a witness keeps the newest note of each log that it cosigned, by the log's origin."""

    path: Path

    def create(self) -> None:
        """For a new witness: nothing seen. BadInput where there is one already."""
        try:
            with self.path.open("x") as file:
                file.write("{}\n")
        except FileExistsError:
            raise BadInput("--state", f"found {self.path}, which is there", "a file that is not") from None

    def read(self) -> dict[str, str]:
        """The notes; BadInput when the file is not there or none of a witness."""
        try:
            found = json.loads(self.path.read_text())
            if isinstance(found, dict):
                return found
        except (OSError, ValueError):
            pass
        right = "the file that `cellwave audit witness key` made: without it a witness would cosign anything"
        raise BadInput("--state", f"{self.path} is no witness's", right)

    @contextmanager
    def locked(self) -> Iterator[dict[str, str]]:
        """The notes, while no other process changes them; BadInput as `read`."""
        with self.path.with_name(f"{self.path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.read()

    def replace(self, notes: dict[str, str]) -> None:
        """Keep these in the place of those before: all of them are on disk, or none."""
        new = self.path.with_name(f"{self.path.name}.new")
        with new.open("w") as file:
            file.write(json.dumps(notes, indent=1, sort_keys=True))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


@dataclass(frozen=True)
class Witness:
    """Cosigns for these logs. A key's name stands for all logs below it too: a cell signs for all of its own by one
    key, each in its own name."""

    cosigner: Cosigner
    logs: Sequence[Key]
    kept: Kept
    now: Callable[[], float] = time.time

    def add_checkpoint(self, text: str) -> Answer:
        """What it answers to a request (C2SP tlog-witness)."""
        try:
            request = Request.parse(text)
            origin = checkpoint_in(request.note).origin
        except (ValueError, Wrong) as error:
            return Answer(BAD, f"{error}\n")
        log = self._log(origin)
        if log is None:
            return Answer(UNKNOWN, f"{origin} is no log of this witness's\n")
        try:
            found = open_note(request.note, log)
        except Wrong as error:
            return Answer(FORBIDDEN, f"{error}\n")
        if request.old > found.size:
            return Answer(BAD, "the old size is more than the checkpoint's\n")
        with self.kept.locked() as notes:
            before = checkpoint_in(notes[origin]) if origin in notes else EMPTY
            if request.old != before.size:
                return Answer(CONFLICT, f"{before.size}\n")
            try:
                _refuse_another(before, found, request.proof)
            except Wrong as error:
                return Answer(WRONG, f"{error}\n")
            line = self.cosigner.cosign(found.text, int(self.now()))
            self.kept.replace({**notes, origin: request.note + line})
        return Answer(OK, line)

    def newest(self, origin_hash: str) -> str | None:
        """The newest note that it cosigned of the log whose origin has that SHA-256 (hex)."""
        notes = self.kept.read()
        return next((note for origin, note in notes.items() if hash_of(origin) == origin_hash), None)

    def _log(self, origin: str) -> Key | None:
        fitting = (key for key in self.logs if origin == key.name or origin.startswith(f"{key.name}/"))
        return next((Key(origin, key.kind, key.public) for key in fitting), None)


def _refuse_another(before: Checkpoint, found: Checkpoint, proof: Sequence[bytes]) -> None:
    """Wrong unless the log has only grown."""
    if before.size == 0:
        if proof or (found.size == 0 and found.root != hashlib.sha256(b"").digest()):
            raise Wrong("of what begins with nothing there is no proof, and nothing has one root")
        return
    check_consistency(before.size, before.root, found.size, found.root, proof)


def hash_of(origin: str) -> str:
    """By which a log is known where its origin is no name."""
    return hashlib.sha256(origin.encode()).hexdigest()
