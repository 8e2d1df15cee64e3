"""The journal: append-only and hash-chained, so that a changed, missing or reordered line is found."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from cellwave.frozen import Frozen, digest_of
from cellwave.text import storable

GENESIS = "0" * 64


class Entry(Frozen):
    """One line. `at` is epoch seconds; `hash` is the SHA-256 of all other fields, `previous` among them."""

    seq: int = Field(ge=1)
    at: float
    rollout: str
    kind: str
    subject: str
    actor: str
    text: str
    previous: str
    hash: str


def seal(
    previous: Entry | None, *, at: float, rollout: str, kind: str, subject: str, actor: str, text: str
) -> Entry:
    """The entry that follows `previous` (None: the first of all)."""
    body = {
        "seq": previous.seq + 1 if previous else 1,
        "at": at,
        "rollout": rollout,
        "kind": kind,
        "subject": storable(subject),
        "actor": storable(actor),
        "text": storable(text),
        "previous": previous.hash if previous else GENESIS,
    }
    return Entry.model_validate({**body, "hash": digest_of(body)})


def faults(entries: Iterable[Entry]) -> list[str]:
    """What is wrong with the chain, in words; an empty list proves it whole (a cut-off tail can't be seen from
    inside: compare the last hash with one noted elsewhere)."""
    found: list[str] = []
    seq, previous = 0, GENESIS
    for entry in entries:
        if entry.seq != seq + 1:
            found.append(f"entry {seq + 1} is missing: {entry.seq} comes after {seq}")
        if entry.previous != previous:
            found.append(f"entry {entry.seq} does not follow on from the one before it")
        if entry.hash != digest_of(entry.model_dump(exclude={"hash"})):
            found.append(f"entry {entry.seq} was changed: its content does not give its hash")
        seq, previous = entry.seq, entry.hash
    return found
