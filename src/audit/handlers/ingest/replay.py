"""Rejected lines that are put through again, each in its own name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from audit.handlers.common.index import event_id
from audit.handlers.ingest.landed import Landed
from audit.handlers.ingest.records import Record, records


def replayed(landed: Landed) -> Iterator[Landed]:
    """What the API asks for by such an object: `place` of what was rejected, and a `line` of it or all."""
    asked = json.loads(landed.content)
    for record in records(landed.application, asked["place"]):
        if record.replayable and asked["line"] in (None, record.line):
            yield Replayed(landed.key, landed.arrived, landed.metadata, record.content, record)


@dataclass(frozen=True)
class Replayed(Landed):
    """A record of what was rejected, as an object: it has its ids and places whenever and however often it comes."""

    record: Record

    @property
    def _many(self) -> bool:
        return b"\n" in self.content

    @property
    def told(self) -> bool:
        """A line that is still no event stands there; what is wrong with one of many does not."""
        return not self._many

    @property
    def place(self) -> str:
        """Beside the record."""
        return f"{self.record.place.removesuffix('.jsonl')}.{self.record.line}.jsonl"

    def identity(self, number: int, occurrence: int, line: bytes) -> str:
        """A line's own since it was first seen; of many, by its place among them."""
        return event_id(self.record.identity, number, line) if self._many else self.record.identity

    def folder(self, identities: Iterable[str]) -> str:
        """Of the day that the record is kept under, and its id: the same by whatever name it was sent."""
        return f"{self.record.place[: len('yyyy/mm/dd')]}/{self.record.identity}.jsonl"
