"""What is in the cells' accounts and in no stack's state: resources that nobody would ever delete."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellwave.fleet.model import Cell, Fleet
from cellwave.frozen import Frozen
from cellwave.sandbox.accounts import Accounts


class Orphan(Frozen):
    """A resource without a stack: where it is, its Pulumi type and its physical id."""

    cell: str
    type: str
    id: str


@dataclass(frozen=True)
class Kind:
    """A type of resource and how its physical ids are listed. `everywhere`: it belongs to no region of its account."""

    type: str
    service: str
    ids: Callable[[Any], Iterable[str]]
    everywhere: bool = False


def orphans(fleet: Fleet, stack_states: Mapping[str, Any]) -> list[Orphan]:
    """List every cell's resources and return those that no stack of that account has.

    `stack_states` holds each stack's state by name, `<cell>.<service>`, as `pulumi stack export` prints it or as the
    state backend keeps it. The role that deployments assume is no stack's, and never an orphan.
    """
    accounts = Accounts(fleet)
    listed = {
        (cell.name, kind, physical)
        for cell in fleet.every_cell
        for kind in KINDS
        for physical in kind.ids(accounts.client(kind.service, cell))
        if not (kind.type == ROLE and str(fleet.role_arn(cell)).endswith(f"/{physical}"))
    }
    return unclaimed(fleet, listed, stack_states)


def unclaimed(
    fleet: Fleet, listed: Iterable[tuple[str, Kind, str]], stack_states: Mapping[str, Any]
) -> list[Orphan]:
    """Which of the listed resources (cell, kind, physical id) are in no state; sorted."""
    kinds = {kind.type: kind for kind in KINDS}
    claimed = {
        (
            _place(fleet.cell(stack.split(".")[0]), kinds[resource["type"]]),
            resource["type"],
            _short(resource["id"]),
        )
        for stack, state in stack_states.items()
        for resource in resources_of(state)
        if resource["type"] in kinds and resource.get("id")
    }
    left = [
        Orphan(cell=cell, type=kind.type, id=physical)
        for cell, kind, physical in listed
        if (_place(fleet.cell(cell), kind), kind.type, _short(physical)) not in claimed
    ]
    return sorted(left, key=lambda orphan: (orphan.cell, orphan.type, orphan.id))


def resources_of(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The resources of an exported stack, or of a state backend's checkpoint."""
    deployment = state.get("deployment") or (state.get("checkpoint") or {}).get("latest") or {}
    return list(deployment.get("resources") or ())


def read_states(backend: Path) -> dict[str, Any]:
    """Every stack's state by name, from the folder of a `file://` state backend."""
    files = sorted((backend / ".pulumi" / "stacks").glob("*/*.json"))
    return {file.name.removesuffix(".json"): json.loads(file.read_text()) for file in files}


def _place(cell: Cell, kind: Kind) -> tuple[str, str]:
    return cell.account, "" if kind.everywhere else cell.aws_region


def _short(physical: str) -> str:
    """A queue's id is its URL, whose host and port are the sandbox's of that day."""
    return physical.rsplit("/", 1)[-1] if physical.startswith("http") else physical


def _paged(operation: str, key: str, name: str = "", **asked: Any) -> Callable[[Any], Iterator[str]]:
    def ids(client: Any) -> Iterator[str]:
        for page in client.get_paginator(operation).paginate(**asked):
            yield from (item[name] if name else item for item in page.get(key, ()))

    return ids


def _keys(client: Any) -> Iterator[str]:
    for key in _paged("list_keys", "Keys", "KeyId")(client):
        about = client.describe_key(KeyId=key)["KeyMetadata"]
        if about["KeyManager"] == "CUSTOMER" and about["KeyState"] != "PendingDeletion":
            yield key


def _aliases(client: Any) -> Iterator[str]:
    names = _paged("list_aliases", "Aliases", "AliasName")(client)
    return (name for name in names if not name.startswith("alias/aws/"))


def _log_groups(client: Any) -> Iterator[str]:
    """Without those that Lambda makes for itself."""
    names = _paged("describe_log_groups", "logGroups", "logGroupName")(client)
    return (name for name in names if not name.startswith("/aws/lambda/"))


ROLE = "aws:iam/role:Role"
KINDS = (
    Kind("aws:s3/bucket:Bucket", "s3", _paged("list_buckets", "Buckets", "Name"), everywhere=True),
    Kind("aws:dynamodb/table:Table", "dynamodb", _paged("list_tables", "TableNames")),
    Kind("aws:kms/key:Key", "kms", _keys),
    Kind("aws:kms/alias:Alias", "kms", _aliases),
    Kind(ROLE, "iam", _paged("list_roles", "Roles", "RoleName"), everywhere=True),
    Kind("aws:lambda/function:Function", "lambda", _paged("list_functions", "Functions", "FunctionName")),
    Kind(
        "aws:lambda/eventSourceMapping:EventSourceMapping",
        "lambda",
        _paged("list_event_source_mappings", "EventSourceMappings", "UUID"),
    ),
    Kind("aws:sqs/queue:Queue", "sqs", _paged("list_queues", "QueueUrls")),
    Kind("aws:sns/topic:Topic", "sns", _paged("list_topics", "Topics", "TopicArn")),
    Kind("aws:apigatewayv2/api:Api", "apigatewayv2", _paged("get_apis", "Items", "ApiId")),
    Kind(
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        "cloudwatch",
        _paged("describe_alarms", "MetricAlarms", "AlarmName", AlarmTypes=["MetricAlarm"]),
    ),
    Kind(
        "aws:cloudwatch/compositeAlarm:CompositeAlarm",
        "cloudwatch",
        _paged("describe_alarms", "CompositeAlarms", "AlarmName", AlarmTypes=["CompositeAlarm"]),
    ),
    Kind("aws:cloudwatch/eventRule:EventRule", "events", _paged("list_rules", "Rules", "Name")),
    Kind("aws:cloudwatch/logGroup:LogGroup", "logs", _log_groups),
    Kind("aws:ssm/parameter:Parameter", "ssm", _paged("describe_parameters", "Parameters", "Name")),
)
