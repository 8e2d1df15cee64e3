"""How an export writes events down: JSON lines, also of OCSF's shape, or CSV that a spreadsheet opens without harm; each
as gzip too."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audit.handlers.common.exact import write

# What a spreadsheet takes for a formula, or lets a formula begin behind.
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
# These, in this order, for ever: what comes later comes behind them. `more` is what has no column of its own.
COLUMNS = (
    "eventId", "eventTime", "tenantId", "eventName", "actorId", "actor", "resourceIds", "resources",
    "sourceIpAddress", "userAgent", "context", "eventDetails", "tags", "more",
)  # fmt: skip
_OWN = (
    "eventId",
    "eventTime",
    "tenantId",
    "eventName",
    "actor",
    "resources",
    "context",
    "eventDetails",
    "tags",
)


@dataclass(frozen=True)
class Format:
    """A format. `lines` writes events; a file of several pieces of it, one behind the other, begins with `head` and is
    one file. `ocsf`: the events that it writes are in that shape."""

    content_type: str
    head: str
    lines: Callable[[Iterable[Mapping[str, Any]]], str]
    packed: bool = False
    ocsf: bool = False

    def begin(self) -> bytes:
        """What a file begins with."""
        return self._bytes(self.head) if self.head else b""

    def piece(self, events: Sequence[Mapping[str, Any]]) -> bytes:
        """What a file of it holds for these events."""
        return self._bytes(self.lines(events)) if events else b""

    def _bytes(self, text: str) -> bytes:
        # Every piece is a whole member: members behind each other are one gzip file, so a file can be gone on with.
        return gzip.compress(text.encode(), compresslevel=6, mtime=0) if self.packed else text.encode()


def _jsonl(events: Iterable[Mapping[str, Any]]) -> str:
    return "".join(f"{write(event)}\n" for event in events)


def _csv(events: Iterable[Mapping[str, Any]]) -> str:
    return _rows([[_safe(cell) for cell in _cells(event)] for event in events])


def _rows(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _safe(cell: str) -> str:
    """The cell as a text: a spreadsheet shows the apostrophe to nobody, and calculates nothing."""
    return f"'{cell}" if cell.startswith(_RISKY) else cell


def _cells(event: Mapping[str, Any]) -> list[str]:
    actor, resources, context = (event.get(name) or {} for name in ("actor", "resources", "context"))
    known = {"sourceIpAddress", "userAgent"}
    return [
        event["eventId"],
        event["eventTime"],
        event["tenantId"],
        event["eventName"],
        actor.get("id", ""),
        _json(actor),
        _json([resource["id"] for resource in resources]),
        _json(resources),
        context.get("sourceIpAddress") or "",
        context.get("userAgent") or "",
        _json({name: value for name, value in context.items() if name not in known}),
        _json(event.get("eventDetails")),
        _json(event.get("tags")),
        _json({name: value for name, value in event.items() if name not in _OWN}),
    ]


def _json(value: object) -> str:
    return write(value) if value else ""


_JSONL = Format("application/jsonl", "", _jsonl)
_CSV = Format("text/csv; charset=utf-8", _rows([COLUMNS]), _csv)
_PLAIN = {"jsonl": _JSONL, "csv": _CSV, "ocsf.jsonl": replace(_JSONL, ocsf=True)}
FORMATS: Mapping[str, Format] = _PLAIN | {
    f"{name}.gz": replace(form, content_type="application/gzip", packed=True) for name, form in _PLAIN.items()
}
