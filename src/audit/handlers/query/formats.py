"""How an export writes events down: JSON lines, also of OCSF's shape, or CSV that a spreadsheet opens without harm,
each as gzip too; or Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Protocol

from audit.handlers.common.events import microseconds
from audit.handlers.common.exact import write
from audit.handlers.query import parquet
from audit.handlers.query.parquet import Group, Row

# What a spreadsheet takes for a formula, or lets a formula begin behind.
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
# These, in this order, for ever: what comes later comes behind them. `more` is what has no column of its own.
COLUMNS = (
    "eventId", "eventTime", "tenantId", "eventName", "actorId", "actor", "resourceIds", "resources",
    "sourceIpAddress", "userAgent", "context", "eventDetails", "tags", "more",
)  # fmt: skip
# A time as it was sent may have more digits, or a zone.
PARQUET_COLUMNS = (
    *((name, parquet.TIME if name == "eventTime" else parquet.TEXT) for name in COLUMNS),
    ("eventTimeText", parquet.TEXT),
)
GROUP_BYTES = 8 * 1024 * 1024  # of cells
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
class Held:
    """Of a Parquet file: how many bytes there are of it, its row groups, and the rows that are to be one of so many
    bytes."""

    at: int
    groups: tuple[Group, ...] = ()
    rows: tuple[Row, ...] = ()
    size: int = 0

    def dump(self) -> bytes:
        """As JSON."""
        return json.dumps(astuple(self)).encode()

    @classmethod
    def load(cls, content: bytes) -> Held:
        """As it was dumped."""
        at, groups, rows, size = json.loads(content)
        return cls(at, tuple(Group(*one) for one in groups), tuple(rows), size)


@dataclass(frozen=True)
class Draft:
    """What is made of a file and in no part of it yet: its next bytes, and what its format has still to write."""

    ready: bytes
    held: Held | None = None

    def dump(self) -> bytes:
        """To be gone on with by whoever loads it."""
        if self.held is None:
            return self.ready
        return len(self.ready).to_bytes(8, "little") + self.ready + self.held.dump()


class Format(Protocol):
    """How a file of events is written: begun, gone on with as often as one likes, and ended. `ocsf`: in that shape."""

    @property
    def content_type(self) -> str:
        """Of the file."""

    @property
    def ocsf(self) -> bool:
        """Whether its events are written in that shape."""

    def begin(self) -> Draft:
        """A file of no events."""

    def add(self, draft: Draft, events: Sequence[Mapping[str, Any]]) -> Draft:
        """With these events behind the others."""

    def end(self, draft: Draft) -> bytes:
        """The last bytes of the file."""

    def load(self, content: bytes) -> Draft:
        """A draft as it was dumped."""


@dataclass(frozen=True)
class Lines:
    """A format of lines: what it writes for some events is a file by itself but for the head."""

    content_type: str
    head: str
    lines: Callable[[Iterable[Mapping[str, Any]]], str]
    packed: bool = False
    ocsf: bool = False

    def begin(self) -> Draft:
        """Its head."""
        return Draft(self._bytes(self.head) if self.head else b"")

    def add(self, draft: Draft, events: Sequence[Mapping[str, Any]]) -> Draft:
        """Their lines."""
        return Draft(draft.ready + self._bytes(self.lines(events))) if events else draft

    def end(self, draft: Draft) -> bytes:
        """Nothing more."""
        return draft.ready

    def load(self, content: bytes) -> Draft:
        """As a release before dumped it, too."""
        return Draft(content)

    def _bytes(self, text: str) -> bytes:
        # Every piece is a whole member: members behind each other are one gzip file, so a file can be gone on with.
        return gzip.compress(text.encode(), compresslevel=6, mtime=0) if self.packed else text.encode()


@dataclass(frozen=True)
class Parquet:
    """The columns of CSV, as texts, and the time as one. Row groups are as large as readers like them, whatever pages
    the events come in."""

    content_type: str = "application/vnd.apache.parquet"
    ocsf: bool = False

    def begin(self) -> Draft:
        """Its first bytes."""
        return Draft(parquet.MAGIC, Held(len(parquet.MAGIC)))

    def add(self, draft: Draft, events: Sequence[Mapping[str, Any]]) -> Draft:
        """As rows that are held, until they are enough for a group."""
        assert draft.held is not None
        rows = [*map(_row, events)]
        size = draft.held.size + sum(len(str(cell)) for row in rows for cell in row)
        held = replace(draft.held, rows=(*draft.held.rows, *rows), size=size)
        made, held = _grouped(held) if size >= GROUP_BYTES else (b"", held)
        return Draft(draft.ready + made, held)

    def end(self, draft: Draft) -> bytes:
        """The last group, and where all of them are."""
        assert draft.held is not None
        made, held = _grouped(draft.held)
        return draft.ready + made + parquet.footer(PARQUET_COLUMNS, held.groups)

    def load(self, content: bytes) -> Draft:
        """What is ready behind its length, then what is held."""
        end = 8 + int.from_bytes(content[:8], "little")
        return Draft(content[8:end], Held.load(content[end:]))


def _grouped(held: Held) -> tuple[bytes, Held]:
    """The bytes of a group of the rows that are held, if there are any."""
    if not held.rows:
        return b"", held
    made, group = parquet.group(PARQUET_COLUMNS, held.rows, held.at)
    return made, Held(held.at + len(made), (*held.groups, group))


def _row(event: Mapping[str, Any]) -> Row:
    cells = dict(zip(COLUMNS, _cells(event), strict=True))
    time = {"eventTime": microseconds(event["eventTime"]), "eventTimeText": event["eventTime"]}
    row: dict[str, Any] = cells | time
    return [row[name] if row[name] != "" else None for name, _ in PARQUET_COLUMNS]


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


_JSONL = Lines("application/jsonl", "", _jsonl)
_CSV = Lines("text/csv; charset=utf-8", _rows([COLUMNS]), _csv)
_PLAIN = {"jsonl": _JSONL, "csv": _CSV, "ocsf.jsonl": replace(_JSONL, ocsf=True)}
FORMATS: Mapping[str, Format] = {
    **_PLAIN,
    **{
        f"{name}.gz": replace(form, content_type="application/gzip", packed=True)
        for name, form in _PLAIN.items()
    },
    "parquet": Parquet(),
}
