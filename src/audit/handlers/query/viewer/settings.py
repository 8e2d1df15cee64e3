"""What holds for a tenant: sections of rows, to be read here and changed elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from audit.handlers.common.aws import setting
from audit.handlers.common.events import canonical_time
from audit.handlers.log.append import CHECKPOINT, checkpoint_in
from audit.handlers.log.store import Store
from audit.handlers.query.jobs import KEPT, when
from audit.handlers.query.viewer.html import Html, tag, together
from audit.handlers.query.viewer.shell import Page, View, moment

Rows = list[tuple[str, str]]


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


def _retention(_: View) -> Rows:
    mode, days = setting("RETENTION").split(" ")
    by = (
        "nobody can change or delete it"
        if mode == "COMPLIANCE"
        else "nobody but a privileged operator can change it"
    )
    return [
        ("Events", f"Each is locked in the archive for {days} day{'s' * (days != '1')}: until then {by}."),
        ("Exports", f"Their files are kept for {KEPT // 86400} days."),
    ]


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
    Section("Transparency log", _log),
    Section("This link", _link),
)
