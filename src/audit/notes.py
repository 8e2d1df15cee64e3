"""What is done in the control plane to what is a tenant's, and how the tenant's log in each cell gets to know of it.

A note is a row of the control plane's; the snapshot of each region that it is about tells it to the cells (`publish`),
and a cell's `directory` writes it into the tenant's log. So nobody who gives a key needs a way into a cell.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import boto3
from boto3.dynamodb.conditions import Key
from botocore.exceptions import ClientError

from audit.handlers.common.internal import Internal, wrong_with
from audit.staff import staff

EVENTS_TABLE = "control-events"
TENANTS_TABLE = "control-tenants"
DAY_S = 86400
TOLD_S = 14 * DAY_S  # a cell that is away for longer was in alarm for as long
KEPT_S = 30 * DAY_S
MOST_TENANTS = 100  # whose logs are told of a deed that is about all of an application's


def note(
    application: str,
    tenant: str | None,
    name: str,
    details: Mapping[str, object],
    regions: Sequence[str] = (),
    *,
    deed: str = "",
) -> None:
    """Write down that this is about to be done, for the cells of these regions (none named are all).

    Without a tenant, in the log of each of the application's: of none where it has more than MOST_TENANTS. The cells
    are told by the next `publish`. What is said of a tenant's `deed` once more changes nothing. Raises ValueError for
    what is no event, and botocore's errors: then don't do it.
    """
    now, who = time.time(), staff()
    at = datetime.fromtimestamp(now, UTC)
    table = boto3.resource("dynamodb").Table(EVENTS_TABLE)
    for one in [tenant] if tenant else _tenants(application):
        identity = deed or f"{int(now * 1000):013}-{uuid.uuid4().hex}"
        if wrong := wrong_with(
            Internal(application, one, name, who, at, identity, details).event, application, one
        ):
            raise ValueError(f"{name}: {wrong}")
        item: dict[str, Any] = {
            "applicationId": application,
            "id": identity,
            "tenantId": one,
            "name": name,
            "actor": who.id,
            "at": int(now * 1000),
            "details": json.dumps(details),
            "expires": int(now) + KEPT_S,
        }
        item |= {"regions": sorted(regions)} if regions else {}
        try:
            table.put_item(Item=item, ConditionExpression="attribute_not_exists(id)")
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise


def _tenants(application: str) -> list[str]:
    asked: Any = {"KeyConditionExpression": Key("applicationId").eq(application), "Limit": MOST_TENANTS + 1}
    found = boto3.resource("dynamodb").Table(TENANTS_TABLE).query(**asked, ConsistentRead=True)["Items"]
    return [str(item["tenantId"]) for item in found] if len(found) <= MOST_TENANTS else []


def told(
    rows: Iterable[Mapping[str, Any]],
    region: str,
    before: Iterable[Mapping[str, Any]],
    version: int,
    now: float,
) -> list[dict[str, Any]]:
    """What a region's snapshot of that version tells: the notes of the last TOLD_S seconds, in the order in which they
    were told first. `before` is what the snapshot before told. Pure."""
    since = {str(event["id"]): int(event["since"]) for event in before}
    found = [
        {
            "id": str(row["id"]),
            "since": since.get(str(row["id"]), version),
            "application": str(row["applicationId"]),
            "tenant": str(row["tenantId"]),
            "name": str(row["name"]),
            "actor": str(row["actor"]),
            "at": int(row["at"]),
            "details": json.loads(str(row["details"])),
        }
        for row in rows
        if region in row.get("regions", [region]) and int(row["at"]) / 1000 > now - TOLD_S
    ]
    return sorted(found, key=lambda event: (event["since"], event["id"]))
