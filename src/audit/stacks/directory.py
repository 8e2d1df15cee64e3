"""The control plane's directory, read when a cell is deployed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pulumi
from botocore.exceptions import BotoCoreError, ClientError

from cellwave.fleet.model import Cell, Fleet

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import DynamoDBServiceResource
    from mypy_boto3_sts import STSClient


def read_directory(fleet: Fleet) -> str:
    """Applications with their tenants and key hashes as JSON, the same text for the same content.

    RunError when the control plane can't be read: a cell without it would lock every customer out.
    """
    if fleet.control is None:
        raise pulumi.RunError("cells/fleet.yaml: the audit product needs a `control` cell")
    try:
        dynamodb = _dynamodb(fleet, fleet.control)
        keys = _scan(dynamodb, f"{fleet.control.name}-keys")
        tenants = _scan(dynamodb, f"{fleet.control.name}-tenants")
    except (BotoCoreError, ClientError) as error:
        raise pulumi.RunError(
            f"the control plane's directory can't be read: {error}\n"
            f"Deploy {fleet.control.name}.control first, and check the role of account {fleet.control.account}."
        ) from None
    return json.dumps({"applications": _applications(keys, tenants)}, sort_keys=True)


def _dynamodb(fleet: Fleet, control: Cell) -> DynamoDBServiceResource:
    """DynamoDB of the control plane's account, through its role."""
    role = fleet.role_arn(control)
    if role is None:
        return boto3.resource("dynamodb", region_name=control.aws_region)
    found = regional_sts(control.aws_region).assume_role(RoleArn=role, RoleSessionName="cellwave-directory")[
        "Credentials"
    ]
    return boto3.resource(
        "dynamodb",
        region_name=control.aws_region,
        aws_access_key_id=found["AccessKeyId"],
        aws_secret_access_key=found["SecretAccessKey"],
        aws_session_token=found["SessionToken"],
    )


def regional_sts(region: str) -> STSClient:
    """STS of that region: its global endpoint is another region's to fail."""
    session = botocore.session.get_session()
    session.set_config_variable("sts_regional_endpoints", "regional")
    return boto3.Session(botocore_session=session).client("sts", region_name=region)


def _scan(dynamodb: DynamoDBServiceResource, name: str) -> list[dict[str, Any]]:
    table = dynamodb.Table(name)
    answer = table.scan(ConsistentRead=True)
    items = answer["Items"]
    while "LastEvaluatedKey" in answer:
        answer = table.scan(ConsistentRead=True, ExclusiveStartKey=answer["LastEvaluatedKey"])
        items += answer["Items"]
    return items


def _applications(keys: list[dict[str, Any]], tenants: list[dict[str, Any]]) -> Mapping[str, object]:
    found: dict[str, dict[str, list[Any]]] = {}
    for item in (*keys, *tenants):
        found.setdefault(item["applicationId"], {"tenants": [], "keys": []})
    for item in sorted(tenants, key=lambda tenant: str(tenant["tenantId"])):
        found[item["applicationId"]]["tenants"].append(item["tenantId"])
    for item in sorted(keys, key=lambda key: str(key["hash"])):
        known = {name: item[name] for name in ("hash", "kind", "tenantId") if name in item}
        found[item["applicationId"]]["keys"].append(known)
    return found
