"""The query API: a tenant reads its own events, newest first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from audit.handlers.common.directory import authenticate
from audit.handlers.common.event_schema import ACTIVITY, STORED
from audit.handlers.common.http import Reply, Request, serve
from audit.handlers.common.index import event_of
from audit.handlers.common.operations import Operation, record, reference, routes
from audit.handlers.common.rehearsal import rehearsed
from audit.handlers.query import exports, feed, proofs
from audit.handlers.query.fitting import fitting
from audit.handlers.query.limits import admit
from audit.handlers.query.reading import read_page
from audit.handlers.query.rehearsal import play
from audit.handlers.query.search import PARAMETERS, Search
from audit.handlers.query.shaping import shaped

MAX_PAGES = 10  # index pages read for one answer; past that the cursor says where to go on
MAX_SECONDS = 2.0  # of reading, likewise: words are looked for by the function itself


@rehearsed(play)
def handler(event: Mapping[str, Any], _context: object = None) -> dict[str, object]:
    """Answer one request of the HTTP API."""
    return serve(event, _ROUTES)


def get_events(request: Request) -> Reply:
    """GET /v1/events: {"events": [newest first], "cursor": where to go on, or null at the end}."""
    caller = authenticate(request, "tenant", "read")
    admit(caller)
    search = Search.of(request.query, caller)
    items, position = _read(search)
    events = fitting(shaped(caller, map(event_of, items), search.ocsf))
    if len(events) < len(items):
        position = str(items[len(events) - 1]["sk"])
    return Reply(200, {"events": events, "cursor": search.cursor(position) if position else None})


def _read(search: Search) -> tuple[list[Mapping[str, Any]], str | None]:
    """Up to `limit` items, and the sort key to go on after (None: there are no more)."""
    found: list[Mapping[str, Any]] = []
    position = search.start
    end = time.monotonic() + MAX_SECONDS
    for _ in range(MAX_PAGES):
        items, position = read_page(search, position)
        found += items
        if len(found) > search.limit:
            return found[: search.limit], str(found[search.limit - 1]["sk"])
        if position is None or time.monotonic() >= end:
            break
    return found, position


_ROUTES = routes(
    "Audit events: reading",
    [
        Operation(
            "GET /v1/events",
            get_events,
            "searchEvents",
            "A tenant's own events, newest first. An answer may hold few or none, and a cursor: null is the end.",
            (
                200,
                record(
                    events={
                        "type": "array",
                        "items": {"anyOf": [reference(STORED), reference(ACTIVITY)]},
                        "maxItems": 100,
                    },
                    cursor={"type": ["string", "null"]},
                ),
            ),
            key=("tenant", "read"),
            parameters=PARAMETERS,
            errors={
                400: ["invalid_parameter", "invalid_cursor"],
                403: ["foreign_tenant"],
                429: ["too_many_requests"],
            },
        ),
        *exports.OPERATIONS,
        *feed.OPERATIONS,
        *proofs.OPERATIONS,
    ],
)
