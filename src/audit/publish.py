"""What the cells are told of keys and tenants: a snapshot for each product region, newer than the last and signed.

A cell's service `directory` takes it within a minute, and its functions know it FRESH seconds later.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from audit.handlers.directory.snapshot import ALGORITHM, MAC, Refused, Snapshot, message_of, parsed
from audit.homes import Home, KnownCell, KnownRegion, homes_in, keep, known_regions, new_homes
from audit.notes import EVENTS_TABLE, TENANTS_TABLE, told
from audit.schemas import SCHEMAS_TABLE, in_force
from audit.terms import APPLICATIONS_TABLE, terms_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS_TABLE = "control-keys"
KEY = "alias/control-directory"
REGIONS = "/audit/regions"
TRIES = 10  # others may publish at the same moment
FASTER = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")  # somebody else was

Items = list[dict[str, Any]]


def regions() -> list[str]:
    """The product regions that there are; ClientError ParameterNotFound before `control.control` is deployed."""
    return str(boto3.client("ssm").get_parameter(Name=REGIONS)["Parameter"]["Value"]).split(",")


def scanned(table: str) -> Items:
    """All that a table of the control plane holds now."""
    found = boto3.resource("dynamodb").Table(table)
    answer = found.scan(ConsistentRead=True)
    items: Items = answer["Items"]
    while "LastEvaluatedKey" in answer:
        answer = found.scan(ConsistentRead=True, ExclusiveStartKey=answer["LastEvaluatedKey"])
        items += answer["Items"]
    return items


def known_tenants(application: str) -> list[str]:
    """The tenants registered to an application."""
    return sorted(item["tenantId"] for item in scanned(TENANTS_TABLE) if item["applicationId"] == application)


def publish() -> dict[str, int]:
    """Tell every region's cells what the tables hold now; the version by region. Raises botocore's errors."""
    account = boto3.client("sts").get_caller_identity()["Account"]
    s3, bucket = boto3.client("s3"), f"control-{account}-directory"
    known = known_regions()
    return {region: _publish(s3, bucket, known[region]) for region in regions() if region in known}


def _publish(s3: S3Client, bucket: str, known: KnownRegion) -> int:
    region = known.name
    for left in reversed(range(TRIES)):
        before, condition = _newest(s3, bucket, f"{region}.json")
        # The clock's milliseconds, so that a control plane made anew is newer than what its cells know.
        now = time.time()
        version = max(int(now * 1000), before.version + 1)
        # Read after the one before was seen to be the newest: what that holds and more.
        content = {
            "region": region,
            "version": version,
            **told_of(known, before.cells),
            "events": told(scanned(EVENTS_TABLE), region, before.events, version, now),
        }
        body = json.dumps(content, sort_keys=True).encode()
        try:
            s3.put_object(
                Bucket=bucket,
                Key=f"{region}.json",
                Body=body,
                ContentType="application/json",
                Metadata={MAC: _mac(body)},
                **condition,
            )
        except ClientError as error:
            if left and error.response["Error"]["Code"] in FASTER:
                continue
            raise
        return version
    raise AssertionError("the last try returns or raises")


def _newest(s3: S3Client, bucket: str, name: str) -> tuple[Snapshot, Any]:
    """The snapshot that is the newest, and the condition that it still is."""
    nothing = Snapshot("", 0, {}, b"", "")
    try:
        answer = s3.get_object(Bucket=bucket, Key=name)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return nothing, {"IfNoneMatch": "*"}
        raise
    try:
        before = parsed(answer["Body"].read(), answer["Metadata"])
    except Refused:
        before = nothing
    return before, {"IfMatch": answer["ETag"]}


def _mac(body: bytes) -> str:
    made = boto3.client("kms").generate_mac(KeyId=KEY, MacAlgorithm=ALGORITHM, Message=message_of(body))
    return base64.b64encode(made["Mac"]).decode()


def told_of(region: KnownRegion, before: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a region's cells are told: its applications with their homes, its cells and who takes over from whom.

    Who has no home yet (of before there were homes, or of before there was that region) gets one. `before` is what was
    told of the cells: who took over once, and does not any more, may have events still.
    """
    applications = known_in(region.name)
    homes = homes_in(region.name)
    holders = [(name, tenant) for name, found in applications.items() for tenant in (None, *found["tenants"])]
    keep(new_homes(region, holders, homes, strict=False))
    return {
        "endpoint": region.endpoint,
        "cells": {cell.name: _partners(cell, before.get(cell.name, {})) for cell in region.cells},
        "applications": with_homes(applications, homes_in(region.name)),
    }


def _partners(cell: KnownCell, before: Mapping[str, Any]) -> dict[str, Any]:
    now = {"failover": cell.failover} if cell.failover else {}
    known = dict.fromkeys((before.get("failover"), *before.get("earlier", ())))
    earlier = [one for one in known if one and one != cell.failover]
    return now | ({"earlier": earlier} if earlier else {})


def with_homes(applications: dict[str, dict[str, Any]], homes: Iterable[Home]) -> dict[str, dict[str, Any]]:
    """The applications, each with its home; and of the tenants that have or had another one, all places. Pure."""
    own = {home.application: home.cell for home in homes if home.tenant is None}
    for home in sorted(homes, key=lambda one: one.tenant or ""):
        found = applications.get(home.application)
        if found is None:
            continue
        at = own.get(home.application, home.cell)
        found["home"] = at
        if home.tenant in found["tenants"]:
            places = list(dict.fromkeys((home.cell, *home.earlier, at)))
            if places != [at]:
                found.setdefault("places", {})[home.tenant] = places
    return applications


def known_in(region: str) -> dict[str, dict[str, Any]]:
    """The applications that have a key in that region, with those keys (hashes), their tenants, these' terms, and their
    schemas.

    A key that names no regions is one of every region.
    """
    keys = [key for key in scanned(KEYS_TABLE) if region in key.get("regions", [region])]
    tenants = scanned(TENANTS_TABLE)
    found = _applications(keys, tenants)
    for application, terms in terms_of(tenants, scanned(APPLICATIONS_TABLE)).items():
        if application in found:
            found[application]["terms"] = terms
    for application, known in in_force(scanned(SCHEMAS_TABLE)).items():
        if application in found:
            found[application] |= known
    return found


def _applications(keys: Items, tenants: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {
        str(key["applicationId"]): {"tenants": [], "keys": []} for key in keys
    }
    for item in sorted(tenants, key=lambda tenant: str(tenant["tenantId"])):
        if item["applicationId"] in found:
            found[item["applicationId"]]["tenants"].append(item["tenantId"])
    for item in sorted(keys, key=lambda key: str(key["hash"])):
        told: dict[str, Any] = {
            name: item[name] for name in ("hash", "kind", "tenantId", "scopes") if name in item
        }
        if "expires" in item:
            told["expires"] = int(item["expires"])
        found[item["applicationId"]]["keys"].append(told)
    return found
