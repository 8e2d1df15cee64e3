"""The query API: a tenant reads its own events, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.handlers.common.directory import authenticate
from audit.handlers.common.event_schema import ACTIVITY, STORED
from audit.handlers.common.http import Reply, Request, serve
from audit.handlers.common.operations import Operation, record, reference, routes
from audit.handlers.common.rehearsal import rehearsed
from audit.handlers.query import exports, feed, proofs, streams, visitors
from audit.handlers.query.answering import answer
from audit.handlers.query.limits import admit
from audit.handlers.query.rehearsal import play
from audit.handlers.query.search import PARAMETERS, Search
from audit.handlers.query.viewer import pages


@rehearsed(play)
def handler(event: Mapping[str, Any], _context: object = None) -> dict[str, object]:
    """Answer one request of the HTTP API."""
    return serve(event, _ROUTES)


def get_events(request: Request) -> Reply:
    """GET /v1/events: {"events": [newest first], "cursor": where to go on, or null at the end}."""
    caller = authenticate(request, "tenant", "read")
    admit(caller)
    events, cursor = answer(Search.of(request.query, caller), caller)
    return Reply(200, {"events": events, "cursor": cursor})


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
                    may_have={"incomplete": visitors.INCOMPLETE},
                ),
            ),
            key=("tenant", "read"),
            parameters=PARAMETERS,
            errors={
                400: ["invalid_parameter", "invalid_cursor"],
                403: ["foreign_tenant"],
                429: ["too_many_requests"],
                503: ["home_unavailable"],
            },
        ),
        visitors.GUESTS,
        *exports.OPERATIONS,
        *feed.OPERATIONS,
        *proofs.OPERATIONS,
        *pages.OPERATIONS,
        *streams.OPERATIONS,
    ],
)
