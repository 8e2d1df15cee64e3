"""The query API: a tenant reads its own events, newest first."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from boto3.dynamodb.conditions import Key

from audit.handlers.common.aws import setting, table
from audit.handlers.common.directory import authenticate
from audit.handlers.common.event_schema import STORED
from audit.handlers.common.exact import write
from audit.handlers.common.http import Reply, Request, serve
from audit.handlers.common.index import event_of
from audit.handlers.common.operations import Operation, record, reference, routes
from audit.handlers.common.rehearsal import rehearsed
from audit.handlers.query.limits import admit
from audit.handlers.query.rehearsal import play
from audit.handlers.query.search import PARAMETERS, Search

# A function's answer may be 6 MB; the rest is for what surrounds the events.
ANSWER_BYTES = 6_000_000
MAX_PAGES = 10  # index pages read for one answer; past that the cursor says where to go on
MAX_SECONDS = 2.0  # of reading, likewise: words are looked for by the function itself
_FILTERED_PAGE = 500  # items: a filter drops most, so read more than are asked for


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
    events = _fitting(items)
    if len(events) < len(items):
        position = str(items[len(events) - 1]["sk"])
    return Reply(200, {"events": events, "cursor": search.cursor(position) if position else None})


def _fitting(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The events of the first items, as many as an answer holds: at least one, since an event is small enough."""
    events: list[dict[str, Any]] = []
    left = ANSWER_BYTES
    for item in items:
        event = event_of(item)
        # The body is JSON within the JSON that the function returns: every quote and backslash counts twice.
        left -= len(json.dumps(write(event))) + 2
        if events and left < 0:
            break
        events.append(event)
    return events


def _read(search: Search) -> tuple[list[Mapping[str, Any]], str | None]:
    """Up to `limit` items, and the sort key to go on after (None: there are no more)."""
    found: list[Mapping[str, Any]] = []
    position = search.start
    end = time.monotonic() + MAX_SECONDS
    for _ in range(MAX_PAGES):
        answer = table(setting("INDEX_TABLE")).query(**_page(search, position))
        found += search.matching(answer["Items"])
        if len(found) > search.limit:
            return found[: search.limit], str(found[search.limit - 1]["sk"])
        if "LastEvaluatedKey" not in answer:
            return found, None
        position = str(answer["LastEvaluatedKey"]["sk"])
        if time.monotonic() >= end:
            break
    return found, position


def _page(search: Search, position: str | None) -> dict[str, Any]:
    condition = Key("pk").eq(search.partition) & Key("sk").between(search.since, search.until)
    page: dict[str, Any] = {"KeyConditionExpression": condition, "ScanIndexForward": False}
    page["Limit"] = _FILTERED_PAGE if search.filters else search.limit + 1
    wanted = search.condition()
    if wanted is not None:
        page["FilterExpression"] = wanted
    if position is not None:
        page["ExclusiveStartKey"] = {"pk": search.partition, "sk": position}
    return page


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
                    events={"type": "array", "items": reference(STORED), "maxItems": 100},
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
        )
    ],
)
