"""A log's operator has its checkpoints cosigned, and keeps the newest that enough witnesses have signed beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from audit.handlers.log.append import CHECKPOINT, checkpoint_in
from audit.handlers.log.store import COSIGNED, Store
from audit.handlers.log.tree import Hashes, consistency
from audit.handlers.log.verifier import COSIGNATURE, Key, Wrong, open_note, signed
from audit.witness.places import Place, place_of
from audit.witness.protocol import CONFLICT, OK, Request
from cellwave.errors import BadInput
from cellwave.fleet.model import Cell

COSIGNING = "cosigning"  # beside the checkpoint: a note that not enough have signed yet
WITNESSES, QUORUM = "witnesses", "witness_quorum"  # labels of a cell


@dataclass(frozen=True)
class Asked:
    """A witness of a cell's: its key, and where it is asked."""

    key: Key
    place: Place


@dataclass(frozen=True)
class Collected:
    """How many witnesses have signed the log of so many leaves, and what the others said, by their names; which of
    these `refused` it, as one does that has seen another history."""

    size: int
    signed: int
    said: dict[str, str]
    refused: list[str]


class Refused(Wrong):
    """A witness does not sign."""


def witnesses_of(cell: Cell) -> tuple[list[Asked], int]:
    """The witnesses of a cell and how many of them are enough (all, where its labels do not say); BadInput when its
    labels say nothing of the kind."""
    where = f"cell {cell.name}: label {WITNESSES}"
    found: list[Asked] = []
    for entry in cell.labels.get(WITNESSES, "").split(","):
        text, _, place = entry.strip().partition(" ")
        if text:
            try:
                key = Key.parse(text)
            except Wrong as error:
                raise BadInput(
                    where, str(error), "KEY PLACE, KEY PLACE: a public key, and a URL, s3:// or folder"
                ) from None
            if key.kind != COSIGNATURE:
                raise BadInput(where, f"{text} is a log's", "a witness's key")
            if key.public in {one.key.public for one in found}:
                raise BadInput(where, f"{text} is there already", "another key for each")
            found.append(Asked(key, place_of(place.strip(), where)))
    said = cell.labels.get(QUORUM, str(len(found)))
    if not re.fullmatch("[0-9]{1,3}", said, re.ASCII) or not min(1, len(found)) <= int(said) <= len(found):
        raise BadInput(
            f"cell {cell.name}: label {QUORUM}", f"found {said!r}", f"a number from 1 to {len(found)}"
        )
    return found, int(said)


def collect(store: Store, log: Key, witnesses: Sequence[Asked], quorum: int) -> Collected | None:
    """Have a log's checkpoint cosigned by the witnesses that have not signed it; None when the log has none.

    One that has been begun is gone on with until enough have signed. Raises Wrong for a note that is not the log's,
    and botocore's errors and Missing of the log's own store.
    """
    newest, kept = store.read(CHECKPOINT), store.read(COSIGNED)
    if newest is None:
        return None
    begun = store.read(COSIGNING) or newest
    if kept and checkpoint_in(kept.decode()) == checkpoint_in(begun.decode()):
        begun = kept
    note, found = begun.decode(), open_note(begun.decode(), log)
    said, refused = dict[str, str](), list[str]()
    hashes = store.hashes(checkpoint_in(newest.decode()).size)
    for one in witnesses:
        if not _has_signed(note, log, one.key):
            old = (
                checkpoint_in(kept.decode()).size if kept and _has_signed(kept.decode(), log, one.key) else 0
            )
            try:
                note += _cosigned(log, one, note, hashes, min(old, found.size))
            except (Wrong, OSError, httpx.HTTPError, BotoCoreError, ClientError) as error:
                said[one.key.name] = str(error)
                refused += [one.key.name] if isinstance(error, Refused) else []
    signed = sum(_has_signed(note, log, one.key) for one in witnesses)
    _keep(store, note, begun.decode(), signed >= quorum, stale=any(_AHEAD in text for text in said.values()))
    return Collected(found.size, signed, said, refused)


_AHEAD = "has cosigned a larger one already"


def _cosigned(log: Key, one: Asked, note: str, hashes: Hashes, old: int) -> str:
    """A witness's lines for a note; raises Wrong with what it said in their place."""
    found, bare = open_note(note, log), _of_the_log(note, log)
    # It may have said what it has, and be asked from there on by now.
    last = one.place.asked(log.name)
    old = last.old if last and last.note == bare else old
    for _ in range(2):
        answer = one.place.ask(log.name, Request(old, consistency(old, found.size, hashes), bare))
        if answer is None:
            raise Wrong("it has not answered yet")
        if answer.status == OK:
            lines = "".join(f"{line}\n" for line in answer.body.splitlines() if _is_of(line, one.key))
            if not _has_signed(note + lines, log, one.key):
                raise Wrong("its answer holds no cosignature of it")
            return lines
        if answer.status != CONFLICT or not re.fullmatch(r"[0-9]{1,18}\n?", answer.body, re.ASCII):
            raise Refused(f"it refuses with {answer.status}: {answer.body.strip()[:200]}")
        old = int(answer.body)
        if old > found.size:
            raise Wrong(f"it {_AHEAD}, of {old} entries")
    raise Wrong("it changes while it is asked")


def _keep(store: Store, note: str, begun: str, enough: bool, *, stale: bool) -> None:
    if enough:
        store.write(COSIGNED, note.encode())
    if enough or stale:
        store.remove(COSIGNING)
    elif note != begun or store.read(COSIGNING) is None:
        store.write(COSIGNING, note.encode())


def _of_the_log(note: str, log: Key) -> str:
    """A note without what others have signed, so that it is the same however often somebody is asked for it."""
    text, _, below = note.partition("\n\n")
    lines = [f"{line}\n" for line in below.splitlines() if _is_of(line, log)]
    return signed(f"{text}\n", lines)


def _is_of(line: str, key: Key) -> bool:
    return line.startswith(f"\N{EM DASH} {key.name} ")


def _has_signed(note: str, log: Key, witness: Key) -> bool:
    try:
        open_note(note, log, [witness], 1)
    except Wrong:
        return False
    return True
