"""Tags, which every service reads and writes by operations of its own names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cellwave.sandbox.provider.aws import Aws
from cellwave.sandbox.provider.values import Props


@dataclass(frozen=True)
class Tags:
    """How a type's tags are reached: the service, and the property (`by`) that goes into the parameter `id`."""

    service: str
    id: str = "ResourceArn"
    by: str = "arn"
    list: str = "list_tags_for_resource"
    add: str = "tag_resource"
    remove: str = "untag_resource"
    fixed: Mapping[str, str] | None = None

    def read(self, aws: Aws, state: Props) -> dict[str, str]:
        """The tags that are there."""
        answer = aws.call(self.service, self.list, **self._target(state))
        found: Any = next((v for k, v in answer.items() if k.lower() in ("tags", "taglist")), {})
        return dict(found) if isinstance(found, dict) else dict(pair.values() for pair in found)

    def write(self, aws: Aws, state: Props, new: Mapping[str, str], old: Mapping[str, str]) -> None:
        """Bring the tags from `old` to `new`."""
        if stale := sorted(old.keys() - new.keys()):
            keys = "tagKeys" if self.service == "logs" else "TagKeys"
            aws.call(self.service, self.remove, **self._target(state), **{keys: stale})
        if changed := {key: value for key, value in new.items() if old.get(key) != value}:
            aws.call(self.service, self.add, {"tags": changed}, **self._target(state))

    def _target(self, state: Props) -> dict[str, str]:
        return {self.id: state[self.by], **(self.fixed or {})}


LAMBDA = Tags("lambda", "Resource", list="list_tags")
SQS = Tags("sqs", "QueueUrl", "url", list="list_queue_tags", add="tag_queue", remove="untag_queue")
DYNAMODB = Tags("dynamodb", list="list_tags_of_resource")
KMS = Tags("kms", "KeyId", "keyId", list="list_resource_tags")
ROLE = Tags("iam", "RoleName", "name", list="list_role_tags", add="tag_role", remove="untag_role")
LOGS = Tags("logs", "resourceArn")
API = Tags("apigatewayv2", list="get_tags")
CLOUDWATCH = Tags("cloudwatch", "ResourceARN")
EVENTS = Tags("events", "ResourceARN")
SNS = Tags("sns")
SSM = Tags(
    "ssm",
    "ResourceId",
    "name",
    add="add_tags_to_resource",
    remove="remove_tags_from_resource",
    fixed={"ResourceType": "Parameter"},
)
