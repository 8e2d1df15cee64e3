"""EventBridge rules of the default bus, and what they call."""

from __future__ import annotations

from cellwave.sandbox.provider import tags
from cellwave.sandbox.provider.aws import Aws
from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.values import Props


def _put_rule(aws: Aws, name: str, new: Props, old: Props) -> None:
    # Tags can't go with an overwrite, and a description that is not given stays.
    given = {"description": "", **{key: value for key, value in new.items() if key != "tags"}} if old else new
    aws.call("events", "put_rule", given)


def _read_rule(aws: Aws, name: str, prior: Props) -> Props | None:
    found = aws.find("events", "describe_rule", Name=name)
    return found and RULE.props({key: value for key, value in found.items() if value != ""})


def _delete_rule(aws: Aws, name: str, state: Props) -> None:
    aws.call("events", "delete_rule", Name=name)


RULE = ResourceType(
    "aws:cloudwatch/eventRule:EventRule",
    inputs="name description eventPattern scheduleExpression state tags",
    outputs="arn",
    replaces="name",
    name="name",
    defaults={"state": "ENABLED"},
    tags=tags.EVENTS,
    upsert=lambda aws, new: new["name"],
    read=_read_rule,
    update=_put_rule,
    delete=_delete_rule,
)


def _put_target(aws: Aws, ref: str, new: Props, old: Props) -> None:
    target = {"Id": new["targetId"], "Arn": new["arn"], "Input": new.get("input")}
    given = {key: value for key, value in target.items() if value is not None}
    aws.call("events", "put_targets", Rule=new["rule"], Targets=[given])


def _target_id(aws: Aws, new: Props) -> str:
    return f"{new['rule']}-{new['targetId']}"


def _read_target(aws: Aws, ref: str, prior: Props) -> Props | None:
    rule = prior["rule"]
    target = ref.removeprefix(f"{rule}-")
    answer = aws.find("events", "list_targets_by_rule", Rule=rule)
    found = next((item for item in answer["Targets"] if item["Id"] == target), None) if answer else None
    return found and {**TARGET.props(found), "targetId": target, "rule": rule}


def _delete_target(aws: Aws, ref: str, state: Props) -> None:
    aws.call("events", "remove_targets", Rule=state["rule"], Ids=[state["targetId"]])


TARGET = ResourceType(
    "aws:cloudwatch/eventTarget:EventTarget",
    inputs="rule targetId arn input",
    replaces="rule targetId",
    name="targetId",
    scope="rule",
    identity="rule targetId",
    upsert=_target_id,
    read=_read_target,
    update=_put_target,
    delete=_delete_target,
)

TYPES = (RULE, TARGET)
