"""CloudWatch log groups."""

from __future__ import annotations

from cellwave.sandbox.provider import tags
from cellwave.sandbox.provider.aws import Aws
from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.values import Props

_NAMES = {"name": "logGroupName"}


def _create(aws: Aws, new: Props) -> str:
    aws.call("logs", "create_log_group", new, _NAMES)
    return str(new["name"])


def _read(aws: Aws, name: str, prior: Props) -> Props | None:
    groups = aws.call("logs", "describe_log_groups", logGroupNamePrefix=name)["logGroups"]
    found = next((group for group in groups if group["logGroupName"] == name), None)
    return found and LOG_GROUP.props({**found, "arn": found["arn"].removesuffix(":*")})


def _update(aws: Aws, name: str, new: Props, old: Props) -> None:
    if new.get("retentionInDays"):
        aws.call("logs", "put_retention_policy", new, _NAMES)
    elif old.get("retentionInDays"):
        aws.call("logs", "delete_retention_policy", logGroupName=name)


def _delete(aws: Aws, name: str, state: Props) -> None:
    aws.call("logs", "delete_log_group", logGroupName=name)


LOG_GROUP = ResourceType(
    "aws:cloudwatch/logGroup:LogGroup",
    inputs="name kmsKeyId retentionInDays tags",
    outputs="arn",
    replaces="name kmsKeyId",
    name="name",
    defaults={"retentionInDays": 0},
    tags=tags.LOGS,
    rename=_NAMES,
    create=_create,
    finish=True,
    read=_read,
    update=_update,
    delete=_delete,
)

TYPES = (LOG_GROUP,)
