"""An object of the landing bucket: whose it is, what its lines are called, and where they are kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from audit.handlers.common.index import event_id, event_id_in_session
from audit.handlers.ingest.acceptance import is_post, session_of

# Behind application, tenant and day; a second object of that name gets a digest more.
LONGEST_NAME = 600

# Of posts' names: by it the API may look whether one is there, and at nothing else that landed.
PREFIX = "post-"
_PART = re.compile(rf"(.*/{PREFIX}[0-9a-f]+)\.[0-9a-f]{{16}}\.jsonl", re.DOTALL)


def part_of(key: str, numbers: Sequence[int]) -> str:
    """Where the part of a post lies that has the events of these numbers."""
    digest = hashlib.sha256(json.dumps(list(numbers)).encode()).hexdigest()[:16]
    return f"{key.removesuffix('.jsonl')}.{digest}.jsonl"


def whole_of(key: str) -> str:
    """The name of the post that an object of this name is, or is a part of: what its lines' ids are made of."""
    found = _PART.fullmatch(key)
    return f"{found[1]}.jsonl" if found else key


@dataclass(frozen=True)
class Landed:
    """An object of the landing bucket, as it came."""

    key: str
    arrived: datetime
    metadata: Mapping[str, str]
    content: bytes

    @property
    def application(self) -> str:
        """Whose it is: the first part of the key, which the API or the policy it signed has set; "" without one."""
        first, slash, _ = self.key.partition("/")
        return first if slash else ""

    @property
    def post(self) -> bool:
        """Whether the API has checked it, event by event, so that none of its lines can be the client's fault."""
        return is_post(self.metadata)

    @property
    def told(self) -> bool:
        """Whether what is wrong with it stands among what was rejected already."""
        return False

    @property
    def place(self) -> str:
        """Where what is told of the object itself is kept: by day and name, the same at every delivery."""
        session = session_of(self.metadata)
        day = session[0] if session else f"{self.arrived:%Y/%m/%d}"
        return f"{day}/{_archive_name(self.key.partition('/')[2])}"

    def identity(self, number: int, occurrence: int, line: bytes) -> str:
        """The id of a line. In an upload session its content says it, in any other object its place."""
        session = session_of(self.metadata)
        if session is None:
            return event_id(whole_of(self.key) if self.post else self.key, number, line)
        return event_id_in_session(self.application, session[1], occurrence, line)

    def folder(self, identities: Iterable[str]) -> str:
        """Where below a tenant the events of these ids are kept.

        Those of an upload session are at the same place whatever the object is called that they came in.
        """
        session = session_of(self.metadata)
        if session is None:
            return self.place
        digest = hashlib.sha256("\n".join(identities).encode()).hexdigest()[:16]
        return f"{session[0]}/{session[1]}-{digest}.jsonl"


def _archive_name(name: str) -> str:
    """The client's name made safe; one too long for a key (S3 takes 1,024 bytes) gives way to its digest."""
    safe = quote(name, safe="")
    if len(safe) > LONGEST_NAME:
        safe = hashlib.sha256(name.encode()).hexdigest()
    return safe if safe.endswith(".jsonl") else f"{safe}.jsonl"
