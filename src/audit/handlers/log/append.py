"""A log grows: what is new in the archive gets an entry each, in the order in which it is found.

What a log is to get is staged, then its state says that it has it (or another was faster, and nothing happened), then
it is written to its places. Whoever comes to a log whose last growth was not finished finishes it first. So an event
has one entry, whoever is killed when, and however often it is told of.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from audit.handlers.common.exact import read
from audit.handlers.log.store import Missing, Place, Stage, State, Store
from audit.handlers.log.tree import WIDTH, Edge, tile_path
from audit.handlers.log.verifier import Checkpoint, Entry, leaf_hash

TRIES = 8  # others may append to the same log at the same moment
FASTEST = 0.02  # seconds that a growth takes at least
SALT_BYTES = 16
CHECKPOINT = "checkpoint"

# The signed note of a checkpoint of so many leaves and that root.
Sign = Callable[[int, bytes], str]


class Busy(Exception):
    """Others were faster every time."""


@dataclass(frozen=True)
class Line:
    """An event as it is archived, without the line's end; `end` is when it ends (seconds since 1970), if it does."""

    event: str
    content: bytes
    object: str = ""  # of the archive
    end: int | None = None

    @classmethod
    def of(cls, content: bytes, key: str = "", end: int | None = None) -> Line:
        """The event that a line of the archive's object `key` is."""
        return cls(str(read(content.decode())["eventId"]), content, key, end)


def append(store: Store, lines: Sequence[Line], sign: Sign, now: Callable[[], datetime]) -> int:
    """Give an entry to each event that has none yet; how many. Raises Busy, Missing, and botocore's errors."""
    for attempt in range(TRIES):
        state = finish(store, sign)
        known = store.places(line.event for line in lines)
        # Of one that a release of before gave its entry to, or whose stage was older than the end that it has now.
        store.keep([*_found(known, lines).values()])
        new = list({line.event: line for line in lines if line.event not in known}.values())
        if not new:
            return 0
        try:
            stage = grown(store, state, new, max(_written(now()), state.at))
        except Missing:
            if store.state() == state:
                raise
        else:
            store.stage(stage)
            if store.commit(state, stage.state):
                _apply(store, stage, sign)
                return len(new)
            store.unstage(stage.state)
        # Another was faster. Who waits a while of their own does not meet the same others again.
        time.sleep(random.uniform(0, FASTEST * 2**attempt))
    raise Busy(_name(store))


def finish(store: Store, sign: Sign) -> State:
    """The log's state, with all that it has in its place."""
    state = store.state()
    if state.size and (stage := store.staged(state)):
        _apply(store, stage, sign)
    return state


def grown(store: Store, state: State, lines: Sequence[Line], at: str) -> Stage:
    """What the log is to get with these lines' entries at its end."""
    salts = [secrets.token_bytes(SALT_BYTES) for _ in lines]
    entries = [Entry.of(line.event, at, salt, line.content) for line, salt in zip(lines, salts, strict=True)]
    edge, tiles = Edge.read(state.size, store.hashes(state.size)).append([leaf_hash(e.data) for e in entries])
    first, width = divmod(state.size, WIDTH)
    begun = store.tile(tile_path("entries", first, width), first) if width else b""
    files = {tile.path: tile.content for tile in tiles}
    files |= dict(_bundles(first, [*unbundled(begun), *(entry.data for entry in entries)]))
    return Stage(
        State(edge.size, edge.root().hex(), at),
        files,
        [
            Place(line.event, state.size + n, salt, line.object, line.end)
            for n, (line, salt) in enumerate(zip(lines, salts, strict=True))
        ],
        sorted({*_partials(state.size)} - {*_partials(edge.size)}),
    )


def _found(known: Mapping[str, Place], lines: Sequence[Line]) -> dict[str, Place]:
    """The places of which it was not known where their events are archived, or how late they end, with that."""
    return {
        line.event: replace(place, object=line.object, end=line.end)
        for line in lines
        if line.object and (place := known.get(line.event)) and (not place.object or _is_sooner(place, line))
    }


def _is_sooner(place: Place, line: Line) -> bool:
    return place.end is not None and line.end is not None and place.end < line.end


def _apply(store: Store, stage: Stage, sign: Sign) -> None:
    """Write all of a stage to its places; to do so again changes nothing."""
    for path, content in stage.files.items():
        store.write(path, content)
    store.keep(stage.places)
    _publish(store, stage.state, sign)
    for path in stage.superseded:
        store.remove(path)
    store.unstage(stage.state)


def _publish(store: Store, state: State, sign: Sign) -> None:
    """Put a signed checkpoint in the place of a smaller one: who was overtaken leaves the larger one there."""
    note = sign(state.size, bytes.fromhex(state.root)).encode()
    for _ in range(TRIES):
        kept = store.read_tagged(CHECKPOINT)
        if kept and checkpoint_in(kept[0].decode()).size >= state.size:
            return
        if store.replace(CHECKPOINT, note, kept[1] if kept else None):
            return
    raise Busy(_name(store))


def _name(store: Store) -> str:
    return f"the log of {store.application}/{store.tenant}"


def checkpoint_in(note: str) -> Checkpoint:
    """The checkpoint that a note says, whoever signed it. Wrong when it is none."""
    return Checkpoint.parse(f"{note.partition(chr(10) * 2)[0]}\n")


def _bundles(first: int, entries: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    """Entry bundles by path: those of C2SP's tlog-tiles, an entry behind its length in two bytes, big-endian."""
    for begin in range(0, len(entries), WIDTH):
        part = entries[begin : begin + WIDTH]
        content = b"".join(len(entry).to_bytes(2, "big") + entry for entry in part)
        yield tile_path("entries", first + begin // WIDTH, len(part)), content


def unbundled(content: bytes) -> list[bytes]:
    """The entries of a bundle."""
    found, at = [], 0
    while at < len(content):
        end = at + 2 + int.from_bytes(content[at : at + 2], "big")
        found.append(content[at + 2 : end])
        at = end
    return found


def _partials(size: int) -> Iterator[str]:
    """The paths of a log's tiles that are not full."""
    if width := size % WIDTH:
        yield tile_path("entries", size // WIDTH, width)
    level = 0
    while size:
        if width := size % WIDTH:
            yield tile_path(str(level), size // WIDTH, width)
        size, level = size // WIDTH, level + 1


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
