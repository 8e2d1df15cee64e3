"""The shape of the index: how an event becomes an item, and where a tenant's events are."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from audit.handlers.common.aws import setting, table
from audit.handlers.common.events import canonical_time
from audit.handlers.common.exact import read, write

BATCH = 25  # statements a call, as DynamoDB has it
AT_ONCE = 8  # calls
TRIES = 4
BUSY = {"ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded", "InternalServerError"}


def partition(application: str, tenant: str) -> str:
    """The partition key of all that one tenant may read. No id holds a '#', so no two tenants share one."""
    return f"{application}#{tenant}"


def event_id(landing_key: str, line_number: int, line: bytes) -> str:
    """The id of a landing object's line: the same at every delivery, another once the key holds new content."""
    return hashlib.sha256(f"{landing_key}\n{line_number}\n".encode() + line).hexdigest()[:32]


def event_id_in_session(application: str, session: str, occurrence: int, line: bytes) -> str:
    """The id of an uploaded line, by its content alone: the same in whatever object of the session it comes again.

    Of equal lines of one object each is an event; `occurrence` counts them from 1.
    """
    told = f"{application}\n{session}\n{occurrence}\n".encode() + line
    return hashlib.sha256(told).hexdigest()[:32]


def item(application: str, identity: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """The index's item for a valid event: what is filtered by stands beside the event's own JSON."""
    found: dict[str, Any] = {
        "pk": partition(application, event["tenantId"]),
        "sk": f"{canonical_time(event['eventTime'])}#{identity}",
        "eventId": identity,
        "eventName": event["eventName"],
        "event": write(event),
    }
    if event.get("serviceEvent"):
        found["serviceEvent"] = "true"
    if event.get("actor"):
        found["actorId"] = event["actor"]["id"]
    if event.get("resources"):
        found["resourceIds"] = sorted({resource["id"] for resource in event["resources"]})
    return found


def event_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """The event as it was accepted, and its id."""
    return {"eventId": found["eventId"], **read(found["event"])}


def end_of_item(found: Mapping[str, Any]) -> int | None:
    """When an item's event ends (seconds since 1970); None when it does not."""
    return int(found["until"]) if "until" in found else None


def insert(items: Iterable[Mapping[str, Any]]) -> None:
    """Put items into the index. What is there already stays: an id says what the event is.

    By INSERT statements, because the right to those is no right to change or delete. RuntimeError when DynamoDB
    refuses one, ClientError or BotoCoreError when it can't be reached.
    """
    name = setting("INDEX_TABLE")
    statements = [
        {
            "Statement": f'INSERT INTO "{name}" VALUE {{{", ".join(f"{key!r}: ?" for key in found)}}}',
            "Parameters": list(found.values()),
        }
        for found in items
    ]
    # The client of a resource takes Python's own types, and is safe in threads.
    client = table(name).meta.client
    batches = [statements[start : start + BATCH] for start in range(0, len(statements), BATCH)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda batch: _insert(client, batch), batches))


def _insert(client: Any, statements: Sequence[Mapping[str, Any]]) -> None:
    for attempt in range(TRIES):
        responses = client.batch_execute_statement(Statements=statements)["Responses"]
        errors = [response.get("Error", {}).get("Code", "DuplicateItem") for response in responses]
        again = [one for one, code in zip(statements, errors, strict=True) if code in BUSY]
        for code in errors:
            if code not in BUSY and code != "DuplicateItem":
                raise RuntimeError(f"the index refuses an event: {code}")
        if not again:
            return
        statements = again
        time.sleep(0.1 * 2**attempt)
    raise RuntimeError(f"the index is too busy for {len(statements)} events")
