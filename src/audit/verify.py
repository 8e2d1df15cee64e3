"""A tenant's log, read whole from its cell with what it is a log of."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from audit.cells import InCell
from audit.handlers.log.append import CHECKPOINT, Line, checkpoint_in, unbundled
from audit.handlers.log.keys import public_bytes
from audit.handlers.log.store import Missing, Store, origin_of
from audit.handlers.log.tree import WIDTH, tile_path
from audit.handlers.log.verifier import ED25519, Checkpoint, Key, Stored, check_log, open_note
from cellwave.errors import CellwaveError

TRIES = 5  # the log may grow while it is read
LOGGED_WITHIN = timedelta(minutes=15)  # what is archived for longer and has no entry is a finding


@dataclass(frozen=True)
class Log:
    """A log as it was found: its signed note, its key, its entries, and the events that it should be one of.

    `pending` counts the events that came too lately to have an entry.
    """

    note: str
    key: Key
    entries: list[bytes]
    events: dict[str, Stored]
    pending: int

    def findings(self, kept: list[str]) -> list[str]:
        """What is wrong with it; `kept` are notes of before. Raises Wrong for one that the log's key has not signed."""
        old = [open_note(note, self.key) for note in kept]
        return check_log(self.checkpoint, self.entries, self.events, old)

    @property
    def checkpoint(self) -> Checkpoint:
        """What the note says; raises Wrong when the log's key has not signed it."""
        return open_note(self.note, self.key)

    def lines(self) -> Iterator[str]:
        """The log as a file for the verifier that stands alone."""
        yield json.dumps({"checkpoint": self.note})
        for entry in self.entries:
            yield json.dumps({"entry": base64.b64encode(entry).decode()})
        for event, stored in self.events.items():
            salt = base64.b64encode(stored.salt or b"").decode()
            yield json.dumps({"event": event, "line": stored.line.decode(), "salt": salt})


def read_log(at: InCell, application: str, tenant: str) -> Log:
    """Read a log; raises CellwaveError when there is none, and botocore's errors.

    The archive last: what came since the checkpoint has no entry in it, and is pending, not wrong.
    """
    store = Store(application, tenant, at.client("s3"), at.bucket("log"), at.table("log"))
    note, entries = _checkpoint_and_entries(at, store)
    origin = origin_of(at.endpoint, application, tenant)
    key = Key(origin, ED25519, public_bytes(at.client("kms"), f"alias/{at.name('log')}"))
    archived = dict(_archived(at, f"{application}/{tenant}/"))
    places = store.places(archived)
    late = datetime.now(UTC) - LOGGED_WITHIN
    events = {
        event: Stored(line.content, places[event].salt if event in places else None)
        for event, (line, when) in archived.items()
        if (places[event].index < len(entries) if event in places else when < late)
    }
    return Log(note, key, entries, events, len(archived) - len(events))


def _checkpoint_and_entries(at: InCell, store: Store) -> tuple[str, list[bytes]]:
    """The newest signed note, and as many entries as it is of; what is not there is what the verifier is to find."""
    for left in reversed(range(TRIES)):
        found = store.read(CHECKPOINT)
        if found is None:
            raise CellwaveError(
                f"{store.application}/{store.tenant} has no log in {at.cell.name}: nothing of it was archived there"
            )
        note = found.decode()
        size, entries = checkpoint_in(note).size, list[bytes]()
        try:
            for first in range(0, size, WIDTH):
                path = tile_path("entries", first // WIDTH, min(WIDTH, size - first))
                entries += unbundled(store.tile(path, first // WIDTH))
        except Missing:
            if left:
                continue  # it has grown meanwhile, and a wider tile is in the place of this one
        return note, entries[:size]
    raise AssertionError("the last try answers")


def _archived(at: InCell, prefix: str) -> Iterator[tuple[str, tuple[Line, datetime]]]:
    s3, bucket = at.client("s3"), at.bucket("archive")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", ()):
            body: Any = s3.get_object(Bucket=bucket, Key=found["Key"])["Body"]
            for content in body.read().splitlines():
                line = Line.of(content)
                yield line.event, (line, found["LastModified"])
