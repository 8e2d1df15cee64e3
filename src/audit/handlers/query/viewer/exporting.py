"""Exports on a page: one is begun, how far each is, and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from audit.handlers.common.events import canonical_time
from audit.handlers.common.http import ApiError, Reply
from audit.handlers.common.internal import Actor
from audit.handlers.query import exports
from audit.handlers.query.jobs import FAILED, PENDING, READY
from audit.handlers.query.viewer.fields import LABELS, choice, filters, meant, pointing
from audit.handlers.query.viewer.html import Html, shown, tag, together
from audit.handlers.query.viewer.shell import Page, View, moment, redirect

EVERY = "2s"  # how often a page asks how far an export is
_FORMATS = {
    "csv": "CSV",
    "csv.gz": "CSV, packed",
    "jsonl": "JSON lines",
    "jsonl.gz": "JSON lines, packed",
    "ocsf.jsonl": "OCSF, JSON lines",
    "ocsf.jsonl.gz": "OCSF, JSON lines, packed",
    "parquet": "Parquet",
}
_STATES = {PENDING: "Being made", READY: "Ready", FAILED: "Failed"}
_COLUMNS = ("Asked for", "Format", "Of", "Events", "State")


def draw_exports(view: View) -> Page:
    """GET /v1/viewer/{link}/exports; parameters fill the form."""
    _may_export(view)
    return _page(view, view.asked)


def begin_export(view: View) -> Page | Reply:
    """POST /v1/viewer/{link}/exports, as a form has it: begin one, and show all."""
    _may_export(view)
    said = {name: value for name, value in parse_qsl(view.request.body.decode(errors="replace")) if value}
    try:
        exports.begin(view.caller, Actor("viewer-link", view.link.name), meant(said))
    except ApiError as error:
        if error.status not in (400, 429):
            raise
        return _page(view, said, error)
    return redirect(view.to("exports"))


def fetch_export(view: View) -> Reply:
    """GET /v1/viewer/{link}/exports/{id}/file: have the browser fetch the file by a URL that is made now."""
    _may_export(view)
    found = exports.one_of(view.caller, view.request.path.split("/")[-2])
    if "url" not in found:
        raise ApiError(404, "not_found", "this export has no file: it is still being made, or it failed")
    return redirect(str(found["url"]))


def _may_export(view: View) -> None:
    if "export" not in view.link.can:
        raise ApiError(
            403, "missing_scope", "this link is for looking at events; exports are not a part of it"
        )


def _page(view: View, said: Mapping[str, str], error: ApiError | None = None) -> Page:
    every = exports.all_of(view.caller)
    pending = sum(one["state"] == PENDING for one in every)
    told = {0: "No export is being made.", 1: "An export is being made."}
    status = tag("p", told.get(pending, f"{pending} exports are being made."), id="status", role="status")
    asking = (
        {} if not pending else {**_replacing(), "hx_get": view.to("exports"), "hx_trigger": f"every {EVERY}"}
    )
    found = [pointing(error)] if error else []
    if every:
        found.append(_table(view, every))
    if pending:
        again = tag("a", "Look again", href=view.to("exports"), id="again")
        found.append(tag("noscript", tag("p", again)))
    section = tag("section", *found, id="exports", aria_label="Exports", tabindex="-1", **asking)
    return Page(
        "exports", "Exports", together([_form(view, said), status, section]), error.status if error else 200
    )


def _replacing() -> dict[str, str]:
    return {
        "hx_target": "#exports",
        "hx_select": "#exports",
        "hx_select_oob": "#status:innerHTML",
        "hx_swap": "outerHTML",
    }


def _form(view: View, said: Mapping[str, str]) -> Html:
    return tag(
        "form",
        *filters(said),
        choice("format", "Format", _FORMATS, said.get("format", "csv")),
        tag("div", tag("button", "Make an export", type="submit"), class_="acts"),
        aria_label="A new export",
        class_="filters",
        method="post",
        action=view.to("exports"),
        hx_post=view.to("exports"),
        **_replacing(),
    )


def _table(view: View, every: Sequence[Mapping[str, Any]]) -> Html:
    head = [
        tag("th", name, scope="col", role="columnheader", class_="number" if name == "Events" else None)
        for name in _COLUMNS
    ]
    return tag(
        "table",
        tag("caption", "Exports of the last three days, the newest first", class_="unseen"),
        tag("thead", tag("tr", *head, role="row"), role="rowgroup"),
        tag("tbody", *(_row(view, one) for one in every), role="rowgroup"),
        role="table",
        class_="exports",
    )


def _row(view: View, export: Mapping[str, Any]) -> Html:
    of = [
        tag("div", LABELS[name][0] if name in LABELS else name, " ", shown(value))
        for name, value in export["filters"].items()
    ]
    state: str = _STATES[export["state"]]
    if export["state"] == READY:
        address, name = view.to(f"exports/{export['id']}/file"), f"get-{export['id']}"
        # In a page of its own: whose frame this is may not allow it to lead elsewhere.
        state = tag("a", "Download", href=address, id=name, class_="button", target="_blank", rel="noopener")
    elif export["state"] == FAILED:
        state = f"Failed: {export['reason']}"
    return tag(
        "tr",
        tag("th", moment(canonical_time(export["created"])), role="rowheader", scope="row", class_="when"),
        tag("td", _FORMATS.get(export["format"], export["format"]), role="cell"),
        tag("td", together(of or ["all events"]), role="cell"),
        tag("td", f"{export['rows']:,}", tag("span", " events", class_="unit"), role="cell", class_="number"),
        tag("td", state, role="cell", class_=f"state {export['state']}"),
        role="row",
    )
