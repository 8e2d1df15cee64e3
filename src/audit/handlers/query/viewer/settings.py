"""What holds for a tenant: sections of rows, to be read here and changed elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from audit.handlers.common.aws import setting
from audit.handlers.common.directory import directory
from audit.handlers.common.events import canonical_time
from audit.handlers.common.retention import CLASSES
from audit.handlers.log.append import CHECKPOINT, checkpoint_in
from audit.handlers.log.store import Store
from audit.handlers.query import streams
from audit.handlers.query.jobs import KEPT, when
from audit.handlers.query.viewer.html import Html, tag, together
from audit.handlers.query.viewer.shell import Page, View, moment

Rows = list[tuple[str, str]]

_WHERE = ("bucket", "url", "site")  # of what a destination has, what people know it by


@dataclass(frozen=True)
class Section:
    """A heading, and how its rows are found: what each is of, and what it says."""

    heading: str
    rows: Callable[[View], Rows]


def draw_settings(view: View) -> Page:
    """GET /v1/viewer/{link}/settings."""
    return Page("settings", "Settings", together(_drawn(one, view) for one in SECTIONS))


def _drawn(section: Section, view: View) -> Html:
    rows = [tag("div", tag("dt", name), tag("dd", said)) for name, said in section.rows(view)]
    return tag("section", tag("h2", section.heading), tag("dl", *rows, class_="rows"))


def _retention(view: View) -> Rows:
    terms = directory().terms(view.link.application, view.link.tenant)
    mode, days = setting("RETENTION").split(" ")
    by = (
        "nobody can change or delete it"
        if mode == "COMPLIANCE"
        else "only a privileged operator can delete it"
    )
    if terms.kept is None:
        kept = f"Each is locked in the archive for {_days(int(days))}: until then {by}."
    else:
        kept = f"What is stored now is kept for {_days(CLASSES[terms.kept])}: until then {by}."
    held = [] if terms.held is None else [("Legal hold", f"Nothing ends since {when(terms.held)}.")]
    return [("Events", kept), *held, ("Exports", f"Their files are kept for {_days(KEPT // 86400)}.")]


def _days(number: int) -> str:
    return f"{number:,} day{'' if number == 1 else 's'}"


def _streams(view: View) -> Rows:
    found = [(_called(one["destination"]), _going(one)) for one in streams.all_of(view.caller)]
    return found or [("Streams", "There are none: events are sent nowhere.")]


def _called(destination: Mapping[str, str]) -> str:
    where = next((destination[name] for name in _WHERE if name in destination), "")
    return f"{destination['kind']} {where}".strip()


def _going(stream: Mapping[str, Any]) -> str:
    entries = stream["lag"]["entries"]
    behind = (
        f"{entries:,} event{'' if entries == 1 else 's'} behind" if entries else "nothing is left to be sent"
    )
    trouble = f": {stream['error']['message']}" if "error" in stream else ""
    return f"{stream['state'].capitalize()}, {behind}{trouble}"


def _log(view: View) -> Rows:
    note = Store.here(view.link.application, view.link.tenant).read(CHECKPOINT)
    if note is None:
        return [("Log", "It is begun with the first event.")]
    checkpoint = checkpoint_in(note.decode())
    return [
        ("Log", checkpoint.origin),
        ("Entries", f"{checkpoint.size:,} events are in it, in an order that nobody can change unseen."),
    ]


def _link(view: View) -> Rows:
    can = " and ".join(["look at events", *({"export": "make exports"}[one] for one in view.link.can)])
    pages = ", ".join(view.link.origins) or "no page: it is opened by itself"
    return [
        ("It is good until", moment(canonical_time(when(view.link.expires)))),
        ("Whoever has it may", can),
        ("It may be framed by", pages),
    ]


# A section is a heading and a function: what else holds for a tenant gets one of its own.
SECTIONS = (
    Section("Retention", _retention),
    Section("Streams", _streams),
    Section("Transparency log", _log),
    Section("This link", _link),
)
