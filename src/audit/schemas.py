"""The schemas that applications have registered, by action and version, in the control plane's table.

What is done here no cell knows of before the next `publish`. The newest version of an action is in force; none is ever
changed or taken away, so that an event's version says what it was held against.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import boto3
from boto3.dynamodb.conditions import Key
from botocore.exceptions import ClientError

from audit.handlers.common.schemas import Schema
from cellwave.errors import BadInput

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

SCHEMAS_TABLE = "control-schemas"
MOST_ACTIONS = 100  # of an application: every cell reads them all, with its keys
STRICT = (
    "strict"  # the row that says that an application's actions must have schemas; a version's name has a '#'
)


@dataclass(frozen=True)
class Registered:
    """A version of the schema of an application's action; `created` is the second (since 1970)."""

    application: str
    action: str
    version: int
    schema: Schema
    created: int

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """As the table has it."""
        action, _, version = str(item["name"]).rpartition("#")
        created = int(datetime.fromisoformat(item["createdAt"]).timestamp())
        return cls(str(item["applicationId"]), action, int(version), json.loads(item["schema"]), created)

    @property
    def item(self) -> dict[str, Any]:
        """As the table has it: names sort by action and version."""
        return {
            "applicationId": self.application,
            "name": f"{self.action}#{self.version:05}",
            "schema": json.dumps(self.schema),
            "createdAt": datetime.fromtimestamp(self.created, UTC).isoformat(),
        }


def versions(application: str) -> list[Registered]:
    """All versions of an application's schemas, by action, the oldest first."""
    return [Registered.of(item) for item in _rows(application) if item["name"] != STRICT]


def is_strict(application: str) -> bool:
    """Whether its actions must have schemas."""
    return any(item["name"] == STRICT for item in _rows(application))


def register(application: str, action: str, schema: Schema, replace: bool) -> int:
    """Register a schema as the action's newest version, which that is.

    BadInput for an action that has one and is not to be given another, for one that has not and is, for too many
    actions, and when somebody else registers one at the same moment.
    """
    known = versions(application)
    newest = max((one.version for one in known if one.action == action), default=0)
    if newest and not replace:
        raise BadInput(
            "ACTION", f"{action!r} has a schema, version {newest}", "--replace to give it another one"
        )
    if replace and not newest:
        raise BadInput("--replace", f"{action!r} has no schema", "none of it for the first one")
    if not newest and len({one.action for one in known}) >= MOST_ACTIONS:
        raise BadInput(
            "ACTION", f"{application} has {MOST_ACTIONS} actions with schemas", "no more than these"
        )
    made = Registered(application, action, newest + 1, schema, int(time.time()))
    try:
        _table().put_item(Item=made.item, ConditionExpression="attribute_not_exists(applicationId)")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        raise BadInput(
            "ACTION", f"somebody has registered version {made.version}", "to look at it first"
        ) from None
    return made.version


def set_strict(application: str, strict: bool) -> None:
    """Say whether an application's actions must have schemas."""
    place = {"applicationId": application, "name": STRICT}
    if strict:
        _table().put_item(Item=place)
    else:
        _table().delete_item(Key=place)


def in_force(items: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the cells are told, by application: {"schemas": {action: {"version", "schema"}}, "strict": true}. Pure."""
    found: dict[str, dict[str, Any]] = {}
    for item in sorted(items, key=lambda item: str(item["name"])):
        known = found.setdefault(str(item["applicationId"]), {})
        if item["name"] == STRICT:
            known["strict"] = True
        else:
            one = Registered.of(item)
            known.setdefault("schemas", {})[one.action] = {"version": one.version, "schema": one.schema}
    return found


def _rows(application: str) -> list[dict[str, Any]]:
    asked: Any = {"KeyConditionExpression": Key("applicationId").eq(application), "ConsistentRead": True}
    answer = _table().query(**asked)
    items: list[dict[str, Any]] = answer["Items"]
    while last := answer.get("LastEvaluatedKey"):
        answer = _table().query(**asked, ExclusiveStartKey=last)
        items += answer["Items"]
    return items


def _table() -> Table:
    return boto3.resource("dynamodb").Table(SCHEMAS_TABLE)
