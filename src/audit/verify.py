"""A tenant's log, read whole from its cell with what it is a log of."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from audit.cells import InCell
from audit.handlers.common.retention import SHORTEST, readable
from audit.handlers.log.append import CHECKPOINT, Line, checkpoint_in, unbundled
from audit.handlers.log.keys import public_bytes
from audit.handlers.log.store import COSIGNED, Missing, Store, origin_of
from audit.handlers.log.tree import WIDTH, tile_path
from audit.handlers.log.verifier import (
    ED25519,
    Checkpoint,
    Entry,
    Key,
    Stored,
    Wrong,
    check_log,
    cosignatures,
    open_note,
)
from audit.retain import in_force
from cellwave.errors import CellwaveError

TRIES = 5  # the log may grow while it is read
LOGGED_WITHIN = timedelta(minutes=15)  # what is archived for longer and has no entry is a finding

clock = time.time


@dataclass(frozen=True)
class Log:
    """A log as it was found: its signed note, its key, its entries, and the events that it should be one of.

    `pending` counts the events that came too lately to have an entry; `cosigned` is the note that witnesses signed;
    `ended` are the events that were kept for as long as they were to be, and are gone.
    """

    note: str
    key: Key
    entries: list[bytes]
    events: dict[str, Stored]
    pending: int
    cosigned: str | None = None
    ended: frozenset[str] = frozenset()

    def findings(self, kept: list[str], witnesses: Sequence[Key] = (), quorum: int = 0) -> list[str]:
        """What is wrong with it; `kept` are notes of before. Raises Wrong for one that the log's key has not signed.

        `quorum` is how many of the witnesses must have signed one of its checkpoints.
        """
        old = [open_note(note, self.key) for note in kept]
        found = [*cosignatures(self.cosigned, self.key, witnesses, quorum, old)]
        return found + check_log(self.checkpoint, self.entries, self.events, old, self.ended)

    @property
    def checkpoint(self) -> Checkpoint:
        """What the note says; raises Wrong when the log's key has not signed it."""
        return open_note(self.note, self.key)

    def lines(self) -> Iterator[str]:
        """The log as a file for the verifier that stands alone."""
        cosigned = {"cosigned": self.cosigned} if self.cosigned else {}
        yield json.dumps({"checkpoint": self.note, **cosigned})
        for entry in self.entries:
            yield json.dumps({"entry": base64.b64encode(entry).decode()})
        for event, stored in self.events.items():
            salt = base64.b64encode(stored.salt or b"").decode()
            yield json.dumps({"event": event, "line": stored.line.decode(), "salt": salt})
        for event in sorted(self.ended):
            yield json.dumps({"event": event, "erased": True})


def read_log(at: InCell, application: str, tenant: str) -> Log:
    """Read a log; raises CellwaveError when there is none, and botocore's errors.

    The archive last: what came since the checkpoint has no entry in it, and is pending, not wrong.
    """
    ((store, key),) = _named(at, [(application, tenant)])
    note, entries = _checkpoint_and_entries(at, store)
    archived = dict(_archived(at, f"{application}/{tenant}/"))
    places = store.places(archived)
    late = datetime.now(UTC) - LOGGED_WITHIN
    events = {
        event: Stored(line.content, places[event].salt if event in places else None)
        for event, (line, when) in archived.items()
        if (places[event].index < len(entries) if event in places else when < late)
    }
    held = in_force(at).terms(application, tenant).held
    ended = _ended(store, entries, archived, held)
    cosigned = (store.read(COSIGNED) or b"").decode() or None
    return Log(note, key, entries, events, len(archived) - len(events), cosigned, ended)


def logs_in(at: InCell, prefix: str = "") -> Iterator[tuple[Store, Key]]:
    """The logs of a cell, an application (`<application>/`) or a tenant (`<application>/<tenant>/`), and their keys."""

    def below(parent: str) -> Iterator[str]:
        pages = at.client("s3").get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=at.bucket("log"), Prefix=parent, Delimiter="/"):
            yield from (one["Prefix"] for one in page.get("CommonPrefixes", ()))

    folders = [prefix]
    while any(one.count("/") < 2 for one in folders):
        folders = [child for one in folders for child in below(one) if not child.startswith("_")]
    yield from _named(
        at, [(application, tenant) for application, tenant, _ in (one.split("/") for one in folders)]
    )


def _named(at: InCell, tenants: Sequence[tuple[str, str]]) -> Iterator[tuple[Store, Key]]:
    public = public_bytes(at.client("kms"), f"alias/{at.name('log')}")
    s3, bucket, table = at.client("s3"), at.bucket("log"), at.table("log")
    for application, tenant in tenants:
        origin = origin_of(at.endpoint, application, tenant)
        yield Store(application, tenant, s3, bucket, table), Key(origin, ED25519, public)


def _ended(
    store: Store, data: Collection[bytes], archived: Collection[str], held: int | None
) -> frozenset[str]:
    """The events that are not in the archive any more, and whose time is over: by a clock that a hold has stopped.

    When that was to be, the log's table says, which no key signs; but an entry's own time is signed for, and no class
    is shorter than SHORTEST. So what is younger, and is gone, is a finding whatever the table says.
    """
    now = clock()
    logged = {entry.event: entry.at for entry in _entries(data) if entry.event not in archived}
    return frozenset(
        place.event
        for place in store.places(logged).values()
        if not readable(place.end, now, held)
        and datetime.fromisoformat(logged[place.event]).timestamp() + SHORTEST <= now
    )


def _entries(data: Collection[bytes]) -> Iterator[Entry]:
    for one in data:
        with suppress(Wrong):  # a finding of its own
            yield Entry.parse(one)


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
