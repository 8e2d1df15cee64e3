"""What a region's router is told of this cell's guests, and tells whoever reads through it."""

from __future__ import annotations

from audit.handlers.common.directory import authenticate
from audit.handlers.common.guests import count_guests, is_guest
from audit.handlers.common.http import Reply, Request
from audit.handlers.common.operations import Operation, record
from audit.handlers.query.limits import admit

INCOMPLETE = {
    "type": "array",
    "items": {"type": "string"},
    "description": "In a region of several cells: those that can't be asked now, so that this answer lacks what they "
    "have. Without it nothing is lacking.",
}


def get_guests(request: Request) -> Reply:
    """GET /v1/guests: what a router asks before it asks for events."""
    caller = authenticate(request, "tenant", "read")
    admit(caller)
    return Reply(200, {"guests": count_guests(), "guest": is_guest(caller.application, caller.tenant or "")})


GUESTS = Operation(
    "GET /v1/guests",
    get_guests,
    "countGuests",
    "How many tenants that are at home in other cells had events taken in here, and whether the key's is one.",
    (200, record(guests={"type": "integer", "minimum": 0}, guest={"type": "boolean"})),
    key=("tenant", "read"),
    errors={429: ["too_many_requests"]},
)
