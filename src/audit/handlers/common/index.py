"""The shape of the index: how an event becomes an item, and where a tenant's events are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from audit.handlers.common.events import canonical_time


def partition(application: str, tenant: str) -> str:
    """The partition key of all that one tenant may read. Ids hold no '#', so no two tenants share one."""
    return f"{application}#{tenant}"


def event_id(landing_key: str, line_number: int, line: bytes) -> str:
    """The id of a landing object's line: the same at every delivery, another once the key holds new content."""
    return hashlib.sha256(f"{landing_key}\n{line_number}\n".encode() + line).hexdigest()[:32]


def item(application: str, identity: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """The index's item for a valid event: what is filtered by stands beside the event's own JSON."""
    found: dict[str, Any] = {
        "pk": partition(application, event["tenantId"]),
        "sk": f"{canonical_time(event['eventTime'])}#{identity}",
        "eventId": identity,
        "eventName": event["eventName"],
        "event": json.dumps(event),
    }
    if "actor" in event:
        found["actorId"] = event["actor"]["id"]
    if event.get("resources"):
        found["resourceIds"] = sorted({resource["id"] for resource in event["resources"]})
    return found


def event_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """The event as it was accepted, and its id."""
    return {"eventId": found["eventId"], **json.loads(found["event"])}
