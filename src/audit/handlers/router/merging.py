"""One answer of the answers of several cells, newest first, each event once; and where to go on. Pure.

A cell's page ends somewhere, and behind its end there may be more: nothing older than the newest such end is told yet.
So what was read and not told is asked for again, by the same cursor of the cell; what was told is left out of it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from audit.handlers.common.events import canonical_time
from audit.handlers.common.fitting import fitting

_MAC_BYTES = 16
END = ""  # in the place of a cursor: there is no more

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Position:
    """How far a question is answered: each cell's own cursor (None: from its beginning, END: to its end), and the place
    of the last event told ("": none was)."""

    cursors: Mapping[str, str | None] = field(default_factory=dict)
    last: str = ""

    def text(self, secret: bytes, question: object) -> str:
        """A cursor that goes on from there, for the same question under the same key."""
        content = json.dumps([self.last, self.cursors])
        raw = _mac(secret, question, content) + content.encode()
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    @classmethod
    def of(cls, cursor: str, secret: bytes, question: object) -> Position | None:
        """The position of a cursor; None when that is not one of this key and question."""
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            mac, content = raw[:_MAC_BYTES], raw[_MAC_BYTES:].decode()
        except (binascii.Error, ValueError):
            return None
        if not hmac.compare_digest(mac, _mac(secret, question, content)):
            return None
        last, cursors = json.loads(content)
        return cls(cursors, last)


@dataclass(frozen=True)
class Page:
    """What a cell answered: events, newest first, and its cursor (END: there is no more)."""

    events: Sequence[Event]
    cursor: str


def place_of(event: Event) -> str:
    """What a cell's index orders events by, of one in OCSF's shape too."""
    if "eventId" in event:
        return f"{canonical_time(event['eventTime'])}#{event['eventId']}"
    metadata = event["metadata"]
    return f"{canonical_time(metadata['original_time'])}#{metadata['uid']}"


def merged(pages: Mapping[str, Page], before: Position, limit: int) -> tuple[list[Event], Position]:
    """The next events of these pages, at most `limit`, and how far the question is answered then.

    A cell that is in no page is where it was.
    """
    unsure = max((_end_of(page) for page in pages.values() if page.cursor != END), default="")
    found = {place_of(event): event for page in pages.values() for event in page.events}
    fresh = {place: event for place, event in found.items() if _is_new(place, before.last)}
    told = fitting([fresh[place] for place in sorted(fresh, reverse=True) if place >= unsure][:limit])
    last = place_of(told[-1]) if told else before.last
    cursors = dict(before.cursors)
    for cell, page in pages.items():
        if not any(_is_new(place_of(event), last) for event in page.events):
            cursors[cell] = page.cursor
    return told, Position(cursors, last)


def _is_new(place: str, last: str) -> bool:
    return last == "" or place < last


def _end_of(page: Page) -> str:
    """The place of a page's last event; above all places of one that has none, whose end nobody knows."""
    return place_of(page.events[-1]) if page.events else "~"


def _mac(secret: bytes, question: object, content: str) -> bytes:
    return hmac.digest(secret, json.dumps(["merged", question, content]).encode(), "sha256")[:_MAC_BYTES]
