"""What a log is of, in its order: each entry's event, as the archive has it.

A position in a log is for ever the same entry's, so whoever remembers the next one to come has had each event before it
once, however late it was indexed and whatever its own time is.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from botocore.exceptions import ClientError

from audit.handlers.common.aws import setting
from audit.handlers.common.directory import directory
from audit.handlers.common.retention import readable
from audit.handlers.log.append import CHECKPOINT, Line, checkpoint_in, unbundled
from audit.handlers.log.store import Missing, Place, Store
from audit.handlers.log.tree import WIDTH, tile_path
from audit.handlers.log.verifier import Entry

TRIES = 3  # the log may grow while it is read, and bundles that are not full are replaced by wider ones
AT_ONCE = 8  # objects of the archive

clock = time.time


class Unplaced(LookupError):
    """A release of before gave an event its entry and did not say where it is archived: `cellwave audit relog` does."""


@dataclass(frozen=True)
class Logged:
    """An entry at its position, and its event's line (without its end); None when that is lawfully gone."""

    position: int
    at: str
    event: str
    line: bytes | None


def size_of(store: Store) -> int:
    """How many entries the newest checkpoint has: all that belongs to them is in its place."""
    note = store.read(CHECKPOINT)
    return checkpoint_in(note.decode()).size if note else 0


def read(store: Store, size: int, begin: int, end: int) -> list[Logged]:
    """The entries from `begin` to before `end` of a log of `size`, or as many as there are.

    Raises Missing, Unplaced, and botocore's errors.
    """
    first, end = begin // WIDTH, min(end, size)
    entries = [one for number in range(first, -(-end // WIDTH)) for one in _bundle(store, number, size)]
    wanted = entries[begin - first * WIDTH : end - first * WIDTH]
    lines = _lines(store, store.places(entry.event for entry in wanted))
    return [
        Logged(position, entry.at, entry.event, lines.get(entry.event))
        for position, entry in enumerate(wanted, start=begin)
    ]


def logged_at(store: Store, size: int, position: int) -> str | None:
    """When the entry at a position was logged; None when a log of `size` has none there."""
    if position >= size:
        return None
    return _bundle(store, position // WIDTH, size)[position % WIDTH].at


def position_since(store: Store, size: int, at: str) -> int:
    """The first of `size` positions whose entry is of that time (UTC, milliseconds) or later; `size` for none."""
    numbers = range(-(-size // WIDTH))
    number = bisect_left(numbers, at, key=lambda one: _bundle(store, one, size)[-1].at)
    if number == len(numbers):
        return size
    return number * WIDTH + bisect_left(_bundle(store, number, size), at, key=lambda entry: entry.at)


def _bundle(store: Store, number: int, size: int) -> list[Entry]:
    """The entries of a bundle that a log of `size` entries has, at least; raises Missing."""
    for left in reversed(range(TRIES)):
        width = min(WIDTH, size - number * WIDTH)
        try:
            content = store.tile(tile_path("entries", number, width), number)
        except Missing:
            if not left:
                raise
            size = max(size, size_of(store))
        else:
            return [Entry.parse(data) for data in unbundled(content)[:width]]
    raise AssertionError("the last try answers or raises")


def _lines(store: Store, places: Mapping[str, Place]) -> dict[str, bytes]:
    """The lines of events by id. One without a place was erased, and so was one that its object no longer has; one that
    has ended is told no more."""
    objects: dict[str, set[str]] = {}
    held, now = directory().terms(store.application, store.tenant).held, clock()
    for place in places.values():
        if not readable(place.end, now, held):
            continue
        if not place.object:
            raise Unplaced(f"entry {place.index} does not say where its event is archived")
        objects.setdefault(place.object, set()).add(place.event)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda key: _lines_in(store, key, objects[key]), objects)
        return {line.event: line.content for lines in found for line in lines}


def _lines_in(store: Store, key: str, events: Collection[str]) -> Sequence[Line]:
    """The lines of these events in an object of the archive."""
    try:
        body = store.s3.get_object(Bucket=setting("ARCHIVE_BUCKET"), Key=key)["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return []
        raise
    lines = map(Line.of, body.iter_lines(64 * 1024))
    return [line for line in lines if line.event in events]
