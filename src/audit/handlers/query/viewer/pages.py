"""The pages of the viewer, and what they fetch, as operations of the query API."""

from __future__ import annotations

from dataclasses import replace

from audit.handlers.common.operations import HTML, Operation, Parameter
from audit.handlers.query.parameters import FILTERS, SPAN
from audit.handlers.query.viewer import assets, links
from audit.handlers.query.viewer.details import draw_event
from audit.handlers.query.viewer.events import PARAMETERS, draw_events
from audit.handlers.query.viewer.exporting import begin_export, draw_exports, fetch_export
from audit.handlers.query.viewer.settings import draw_settings
from audit.handlers.query.viewer.shell import Draw, page

_TEXT = {"type": "string"}
_LINK = Parameter("link", "As it was answered.", _TEXT, place="path")


def _operation(
    route: str,
    draw: Draw,
    name: str,
    summary: str,
    *more: Parameter,
    errors: dict[int, list[str]] | None = None,
) -> Operation:
    method, path = route.split(" ")
    refused: dict[int, list[str]] = {403: ["invalid_link", "link_ended"], 429: ["too_many_requests"]}
    for status, codes in (errors or {}).items():
        refused[status] = [*refused.get(status, ()), *codes]
    return Operation(
        f"{method} {links.PLACE}/{{link}}/{path}",
        page(draw),
        name,
        f"A page of the viewer: {summary}.",
        (200, _TEXT),
        None,
        parameters=[_LINK, *more],
        errors=refused,
        media=HTML,
    )


OPERATIONS = (
    *links.OPERATIONS,
    _operation(
        "GET events",
        draw_events,
        "viewEvents",
        "the tenant's events",
        *PARAMETERS,
        errors={400: ["invalid_parameter", "invalid_cursor"], 403: ["foreign_tenant"]},
    ),
    _operation(
        "GET events/{event}",
        draw_event,
        "viewEvent",
        "one event",
        Parameter("event", "Its time in UTC and its id.", _TEXT, place="path"),
        errors={404: ["not_found"]},
    ),
    _operation(
        "GET exports",
        draw_exports,
        "viewExports",
        "the tenant's exports",
        *FILTERS,
        *SPAN,
        errors={403: ["missing_scope"]},
    ),
    replace(
        _operation(
            "POST exports",
            begin_export,
            "beginExport",
            "an export is begun",
            errors={
                400: ["invalid_parameter", "invalid_json"],
                403: ["missing_scope", "foreign_tenant"],
                429: ["too_many_exports"],
            },
        ),
        returns=(303, _TEXT),
        body={"type": "object"},
        takes="application/x-www-form-urlencoded",
    ),
    replace(
        _operation(
            "GET exports/{id}/file",
            fetch_export,
            "fetchExport",
            "an export's file",
            Parameter("id", "As it was answered.", _TEXT, place="path"),
            errors={403: ["missing_scope"], 404: ["not_found"]},
        ),
        returns=(303, _TEXT),
    ),
    _operation("GET settings", draw_settings, "viewSettings", "what holds for the tenant"),
    Operation(
        f"GET {assets.PLACE}/{{name}}",
        assets.get_asset,
        "viewerAsset",
        "What the viewer's pages fetch: a style or a script.",
        (200, _TEXT),
        None,
        parameters=[Parameter("name", "As the pages name it.", _TEXT, place="path")],
        errors={404: ["not_found"]},
        media="text/css",
    ),
)
