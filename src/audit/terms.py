"""What a tenant's events are kept by, in the control plane's tables. No cell knows of it before the next `publish`.

A tenant's row has its class and its hold; an application's row has the vendor's floor, which no class of its tenants is
below.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from audit.handlers.common.retention import CLASSES, longest
from audit.notes import TENANTS_TABLE, note
from cellwave.errors import BadInput, CellwaveError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

APPLICATIONS_TABLE = "control-applications"
LONGEST_REASON = 1000  # characters

Row = Mapping[str, Any]


def tenant_row(application: str, tenant: str) -> Row:
    """The row of a tenant; BadInput when it is not registered."""
    place = {"applicationId": application, "tenantId": tenant}
    found = _tenants().get_item(Key=place, ConsistentRead=True).get("Item")
    if found is None:
        raise BadInput("APPLICATION/TENANT", f"found {application}/{tenant}", "a tenant that is registered")
    return found


def floor_of(application: str) -> str | None:
    """The class that no tenant's of the application is below; None where the vendor has set none."""
    table = boto3.resource("dynamodb").Table(APPLICATIONS_TABLE)
    found = table.get_item(Key={"applicationId": application}, ConsistentRead=True).get("Item", {})
    return str(found["floor"]) if "floor" in found else None


def set_floor(application: str, kept: str) -> None:
    """Keep all that its tenants with a class store from now on for as long, at least; what is stored is told apart."""
    before = floor_of(application)
    note(application, None, "audit.retention.floor", {"before": before, "after": kept})
    boto3.resource("dynamodb").Table(APPLICATIONS_TABLE).update_item(
        Key={"applicationId": application},
        UpdateExpression="SET #floor = :floor",
        ExpressionAttributeNames={"#floor": "floor"},
        ExpressionAttributeValues={":floor": kept},
    )


def set_class(application: str, tenant: str, kept: str) -> None:
    """Keep what the tenant stores from now on by that class; BadInput for one below the floor."""
    row, floor = tenant_row(application, tenant), floor_of(application)
    if longest(kept, floor) != kept:
        least = ", ".join(name for name in CLASSES if longest(name, floor) == name)
        raise BadInput("CLASS", f"found {kept!r}", f"one of {least}: the floor of {application} is {floor}")
    before = row.get("class")
    note(application, tenant, "audit.retention.changed", {"before": before, "after": kept})
    _update(application, tenant, "SET #class = :class", {"#class": "class"}, {":class": kept})


def hold(application: str, tenant: str, reason: str) -> None:
    """Let nothing of the tenant's end from now on; BadInput when a hold is on, or the reason is none."""
    row = tenant_row(application, tenant)
    _refuse_reason(reason)
    if "held" in row:
        right = "a tenant without a hold: release that one first, or leave it"
        raise BadInput("--hold", f"{application}/{tenant} is held: {row['heldFor']}", right)
    note(application, tenant, "audit.hold.placed", {"reason": reason})
    values = {":held": int(time.time()), ":reason": reason}
    _update(
        application,
        tenant,
        "SET held = :held, heldFor = :reason",
        {},
        values,
        seen="attribute_not_exists(held)",
    )


def release(application: str, tenant: str, reason: str) -> None:
    """Let what is over end; BadInput when no hold is on, or the reason is none."""
    row = tenant_row(application, tenant)
    _refuse_reason(reason)
    if "held" not in row:
        raise BadInput("--release", f"no hold is on {application}/{tenant}", "a tenant that is held")
    note(application, tenant, "audit.hold.released", {"reason": reason, "placedFor": str(row["heldFor"])})
    values = {":held": row["held"], ":reason": row["heldFor"]}
    _update(
        application, tenant, "REMOVE held, heldFor", {}, values, seen="held = :held AND heldFor = :reason"
    )


def shown(application: str, tenant: str | None) -> list[str]:
    """The terms of a tenant, or an application's floor, in words; BadInput for a tenant that is not registered."""
    floor = floor_of(application)
    if tenant is None:
        return [f"{application}: no tenant's class is below {floor}" if floor else f"{application}: no floor"]
    row = tenant_row(application, tenant)
    kept = longest(row.get("class"), floor) if "class" in row else None
    lines = [
        f"{application}/{tenant}: kept for {kept}" if kept else f"{application}/{tenant}: kept without an end"
    ]
    if "held" in row:
        since = datetime.fromtimestamp(int(row["held"]), UTC).isoformat()
        lines.append(f"  held since {since}: {row['heldFor']}")
    return lines


def terms_of(rows: Iterable[Row], floors: Iterable[Row]) -> dict[str, dict[str, dict[str, Any]]]:
    """What the cells are told of terms: by application, by tenant, a class and since when it is held. Pure."""
    least = {str(row["applicationId"]): str(row["floor"]) for row in floors if "floor" in row}
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        terms: dict[str, Any] = {}
        if "class" in row:
            terms["class"] = longest(str(row["class"]), least.get(str(row["applicationId"])))
        if "held" in row:
            terms["held"] = int(row["held"])
        if terms:
            found.setdefault(str(row["applicationId"]), {})[str(row["tenantId"])] = terms
    return found


def _refuse_reason(reason: str) -> None:
    if not 1 <= len(reason.strip()) <= LONGEST_REASON:
        raise BadInput(
            "reason", f"found {len(reason.strip())} characters", f"1 to {LONGEST_REASON}: the tenant reads it"
        )


def _update(
    application: str,
    tenant: str,
    what: str,
    names: dict[str, str],
    values: dict[str, Any],
    *,
    seen: str = "attribute_exists(tenantId)",
) -> None:
    # As one goes, or not at all: who has taken the tenant away meanwhile did so.
    more: Any = {"ExpressionAttributeNames": names} if names else {}
    try:
        _tenants().update_item(
            Key={"applicationId": application, "tenantId": tenant},
            UpdateExpression=what,
            ConditionExpression=f"attribute_exists(tenantId) AND {seen}",
            ExpressionAttributeValues=values,
            **more,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        raise CellwaveError(
            f"somebody else changed the terms of {application}/{tenant} meanwhile", hint="look, and ask again"
        ) from None


def _tenants() -> Table:
    return boto3.resource("dynamodb").Table(TENANTS_TABLE)
