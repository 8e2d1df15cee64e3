"""The list of events: a question's fields, what it finds, and the way to what is older."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audit.handlers.common.directory import directory
from audit.handlers.common.events import canonical_time
from audit.handlers.common.http import ApiError
from audit.handlers.query import parameters
from audit.handlers.query.answering import answer
from audit.handlers.query.parameters import FILTERS, PAGE, SPAN, TENANT
from audit.handlers.query.search import Search
from audit.handlers.query.viewer.fields import LABELS, choice, filters, meant, pointing
from audit.handlers.query.viewer.html import Html, shown, tag, together
from audit.handlers.query.viewer.marks import mark_of
from audit.handlers.query.viewer.shell import Page, View, moment

PARAMETERS = (*TENANT, *FILTERS, *SPAN, *PAGE)
LIMITS = ("25", "50", "100")
_COLUMNS = ("Time", "Event", "Actor", "Resources", "Source")
_ELSEWHERE = "This tenant was moved between cells: events from before are not listed here, but by the API."
_LONG = 80  # characters of a cell


def draw_events(view: View) -> Page:
    """GET /v1/viewer/{link}/events, with the parameters of GET /v1/events."""
    asked = view.asked
    try:
        question = parameters.asked(meant({"limit": LIMITS[0], **asked}).items(), PARAMETERS)
        events, cursor = answer(Search.of(question.items(), view.caller), view.caller)
    except ApiError as error:
        if error.status != 400:
            raise
        return _page(view, error.status, "", pointing(error))
    said = _said(len(events), cursor, older="cursor" in asked)
    return _page(view, 200, said, _table(view, events) if events else None, _ways(view, cursor))


def place_of(event: Mapping[str, Any]) -> str:
    """What an event's own page is named by: its time and id, by which the index finds it."""
    return f"{canonical_time(event['eventTime'])}~{event['eventId']}"


def badge(event: Mapping[str, Any]) -> Html | None:
    """What the event did, as a word."""
    mark = mark_of(event)
    return tag("span", mark, class_=f"mark {mark}") if mark else None


def _page(view: View, status: int, said: str, *found: str | None) -> Page:
    # Beside what is replaced, so that a screen reader hears it change.
    told = tag("p", said, id="status", role="status")
    if len(directory().places(view.link.application, view.link.tenant)) > 1:
        found = (*found, tag("p", _ELSEWHERE, class_="hint"))
    results = tag("section", *found, id="results", aria_label="What was found", tabindex="-1")
    return Page("events", "Events", together([_form(view), told, results]), status)


def _form(view: View) -> Html:
    asked = view.asked
    return tag(
        "form",
        *filters(asked),
        choice("limit", "Events a page", {one: one for one in LIMITS}, asked.get("limit", LIMITS[0])),
        tag(
            "div",
            tag("button", "Search", type="submit"),
            tag("a", "Clear", href=view.to("events"), class_="button plain"),
            class_="acts",
        ),
        role="search",
        aria_label="Events",
        class_="filters",
        method="get",
        action=view.to("events"),
        **_replacing(view.to("events")),
    )


def _replacing(address: str) -> dict[str, str]:
    """Have htmx put what that address finds into the place of what was found."""
    return {
        "hx_get": address,
        "hx_target": "#results",
        "hx_select": "#results",
        "hx_select_oob": "#status:innerHTML",
        "hx_swap": "outerHTML",
        "hx_push_url": "true",
        "hx_sync": "#results:replace",
    }


def _said(number: int, cursor: str | None, *, older: bool) -> str:
    if not number:
        return "Nothing yet: older events are still to be searched." if cursor else "No events."
    what = f"{number} {'older ' if older else ''}event{'' if number == 1 else 's'}"
    return f"{what}, newest first{'' if cursor else '; there are no others before'}."


def _table(view: View, events: Sequence[Mapping[str, Any]]) -> Html:
    head = [tag("th", name, scope="col", role="columnheader") for name in _COLUMNS]
    return tag(
        "table",
        tag("caption", f"Events of tenant {view.link.tenant}, newest first", class_="unseen"),
        tag("thead", tag("tr", *head, role="row"), role="rowgroup"),
        tag("tbody", *(_row(view, event) for event in events), role="rowgroup"),
        # Said again, since a narrow page lays rows out as blocks, and some browsers then tell of no table.
        role="table",
        class_="events",
    )


def _row(view: View, event: Mapping[str, Any]) -> Html:
    actor, context = event.get("actor") or {}, event.get("context") or {}
    resources = [resource["id"] for resource in event.get("resources") or ()]
    more = f" and {len(resources) - 1} more" if len(resources) > 1 else None
    name = tag(
        "a", _short(event["eventName"]), href=view.to(f"events/{place_of(event)}", **_narrowing(view.asked))
    )
    cells = {
        "who": _short(actor.get("id") or ""),
        "what": together([_short(resources[0]), more]) if resources else Html(""),
        "source": _short(context.get("sourceIpAddress") or ""),
    }
    return tag(
        "tr",
        tag("td", moment(canonical_time(event["eventTime"])), role="cell", class_="when"),
        tag("th", name, badge(event), role="rowheader", scope="row"),
        *(tag("td", content, role="cell", class_=kind) for kind, content in cells.items()),
        role="row",
    )


def _short(text: str) -> Html:
    return shown(text if len(text) <= _LONG else f"{text[: _LONG - 1]}…")


def _narrowing(asked: Mapping[str, str]) -> dict[str, str]:
    return {name: asked[name] for name in LABELS if name in asked}


def _ways(view: View, cursor: str | None) -> Html:
    """To older events, to the newest, and to an export."""
    narrowing = _narrowing(view.asked)
    ways: list[Html] = []
    if cursor:
        limit = {"limit": view.asked["limit"]} if "limit" in view.asked else {}
        older = view.to("events", **narrowing, **limit, cursor=cursor)
        ways.append(tag("a", "Older events", href=older, rel="next", class_="button", **_replacing(older)))
    if "cursor" in view.asked:
        newest = view.to("events", **narrowing)
        ways.append(tag("a", "Newest events", href=newest, class_="button plain", **_replacing(newest)))
    if "export" in view.link.can:
        ways.append(tag("a", "Export these", href=view.to("exports", **narrowing), class_="button plain"))
    return tag("nav", *ways, aria_label="Further", class_="acts")
