"""The feed: a tenant's events in the order in which they were logged, for a SIEM that comes again and again.

A cursor is a position of the tenant's log. It is no secret and opens nothing: whose log is read, the key says alone. So
it is bound to the tenant and not to the key, and goes on when keys are rotated.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from audit.handlers.common.aws import setting
from audit.handlers.common.directory import Caller, authenticate
from audit.handlers.common.event_schema import ACTIVITY, STORED
from audit.handlers.common.events import canonical_time
from audit.handlers.common.exact import read
from audit.handlers.common.fitting import fitting
from audit.handlers.common.http import ApiError, Reply, Request
from audit.handlers.common.index import partition
from audit.handlers.common.operations import Operation, Parameter, record, reference
from audit.handlers.log import reading
from audit.handlers.log.store import Store
from audit.handlers.query.limits import admit
from audit.handlers.query.parameters import SHAPE, asked, is_ocsf, limit_of, time_of
from audit.handlers.query.shaping import shaped

BACKFILL = timedelta(days=30)
MOST = 1000  # events an answer
STEP = 100  # entries read at a time
MAX_SECONDS = 2.0  # of reading; past that the cursor says where to go on
_CHECK_BYTES = 8

PARAMETERS = (
    Parameter(
        "from",
        "Where to begin without a cursor: the earliest time of logging, inclusive (RFC 3339), of the last 30 days. "
        "Without it, 30 days ago.",
        {"type": "string", "format": "date-time"},
    ),
    Parameter(
        "limit", "Events an answer.", {"type": "integer", "minimum": 1, "maximum": MOST, "default": 100}
    ),
    Parameter(
        "cursor",
        "Where the answer before ended: good for this tenant, by any of its keys, for ever.",
        {"type": "string"},
    ),
    *SHAPE,
)

log = logging.getLogger(__name__)
clock = time.time


def get_feed(request: Request) -> Reply:
    """GET /v1/feed: {"events": [oldest first], "cursor": where to go on, "behind": how many more there are now}."""
    caller = authenticate(request, "tenant", "read")
    admit(caller)
    given = asked(request.query, PARAMETERS)
    limit = limit_of(given.get("limit", "100"), MOST)
    store = Store.here(caller.application, caller.tenant or "")
    size = reading.size_of(store)
    begin = _begin(given, caller, store, size)
    found = _read(store, size, begin, min(size, begin + limit))
    there = [one for one in found if one.line is not None]
    lines = (read((one.line or b"").decode()) for one in there)
    events = fitting(shaped(caller, lines, is_ocsf(given)))
    # What does not fit comes next; what is gone for ever is passed over.
    following = there[len(events)].position if len(events) < len(there) else begin + len(found)
    return Reply(
        200, {"events": events, "cursor": _cursor(caller, following), "behind": max(0, size - following)}
    )


def _read(store: Store, size: int, begin: int, end: int) -> list[reading.Logged]:
    """The entries from `begin` to before `end`, or as many of them as there is time for."""
    found: list[reading.Logged] = []
    late = time.monotonic() + MAX_SECONDS
    while begin + len(found) < end and (not found or time.monotonic() < late):
        first = begin + len(found)
        try:
            found += reading.read(store, size, first, min(first + STEP, end))
        except reading.Unplaced as error:
            log.warning("%s/%s: %s: `cellwave audit relog` says it", store.application, store.tenant, error)
            said = "what was logged there is not made ready to be told in this order: begin later, or ask again later"
            raise ApiError(409, "not_ready", said) from None
    return found


def _begin(given: Mapping[str, str], caller: Caller, store: Store, size: int) -> int:
    """The position to begin at; raises ApiError 400."""
    if "cursor" in given and "from" in given:
        raise ApiError(
            400, "invalid_parameter", "from: a cursor goes on where it is; leave one of the two out"
        )
    if "cursor" in given:
        return _position(caller, given["cursor"])
    earliest = _written(datetime.fromtimestamp(clock(), UTC) - BACKFILL)
    since = time_of("from", given["from"]) if "from" in given else earliest
    if since < earliest:
        raise ApiError(
            400,
            "invalid_parameter",
            f"from: found {given['from'][:60]}, expected {BACKFILL.days} days ago at most: {earliest[:19]}Z or later",
        )
    # Entries have milliseconds.
    return reading.position_since(store, size, f"{since[:23]}Z")


def _written(moment: datetime) -> str:
    return canonical_time(moment.isoformat())


def _cursor(caller: Caller, position: int) -> str:
    """An opaque text of a position in the caller's log."""
    return base64.urlsafe_b64encode(_check(caller, position) + str(position).encode()).decode().rstrip("=")


def _position(caller: Caller, cursor: str) -> int:
    """The position that a cursor says; raises ApiError 400 when it is none of this tenant's."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        check, text = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:].decode()
    except (binascii.Error, ValueError):
        check, text = b"", ""
    if not re.fullmatch("[0-9]{1,15}", text, re.ASCII) or check != _check(caller, int(text)):
        raise ApiError(
            400, "invalid_cursor", "cursor: is none that this tenant's feed has answered in this cell"
        )
    return int(text)


def _check(caller: Caller, position: int) -> bytes:
    """What shows that a cursor was not cut or made up, and is of this tenant's log in this cell."""
    told = "\n".join(
        (setting("LOG_BUCKET"), partition(caller.application, caller.tenant or ""), str(position))
    )
    return hashlib.sha256(told.encode()).digest()[:_CHECK_BYTES]


OPERATIONS = (
    Operation(
        "GET /v1/feed",
        get_feed,
        "feed",
        "A tenant's events in the order in which they were logged, oldest first: each once over a chain of cursors. "
        "There is always a cursor; with `behind` 0, come again later.",
        (
            200,
            record(
                events={
                    "type": "array",
                    "items": {"anyOf": [reference(STORED), reference(ACTIVITY)]},
                    "maxItems": MOST,
                },
                cursor={"type": "string"},
                behind={
                    "type": "integer",
                    "minimum": 0,
                    "description": "Entries that come after this answer.",
                },
            ),
        ),
        key=("tenant", "read"),
        parameters=PARAMETERS,
        errors={400: ["invalid_parameter", "invalid_cursor"], 409: ["not_ready"], 429: ["too_many_requests"]},
    ),
)
