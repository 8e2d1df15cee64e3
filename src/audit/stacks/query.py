"""The query service: an HTTP API whose function reads the index, and counts what each tenant asks."""

from __future__ import annotations

import pulumi
from pulumi_aws import dynamodb

from audit.stacks import access
from cellwave.cell import CellContext, code_archive
from cellwave.cell.alarms import Alarm, ServiceAlarms, ServiceAlarmsArgs
from cellwave.cell.function import Function, FunctionArgs
from cellwave.cell.http_api import HttpApi, HttpApiArgs

REQUESTS = 200  # of a tenant in ten seconds, unless the cell's label `query_requests` says otherwise


def deploy(ctx: CellContext) -> None:
    """The API, its function and its alarms; outputs `api_id` and `url`."""
    function = Function(
        ctx,
        "query-api",
        FunctionArgs(
            code=code_archive(ctx.source, ctx.service.code),
            handler="audit.handlers.query.api.handler",
            environment={
                **access.environment(ctx),
                "INDEX_TABLE": ctx.name("index"),
                # The table's output, so that nobody counts before there is one.
                "LIMITS_TABLE": _limits(ctx).name,
                "LIMIT_REQUESTS": str(limit_of(ctx)),
            },
            allow=[
                access.directory_object(ctx),
                access.index(ctx, "dynamodb:Query"),
                access.use_key(ctx, "index", "kms:Decrypt", through="dynamodb"),
                {
                    "Action": ["dynamodb:UpdateItem"],
                    "Resource": ctx.arn("dynamodb", f"table/{ctx.name('limits')}"),
                },
            ],
        ),
    )
    api = HttpApi(ctx, HttpApiArgs(function))
    ServiceAlarms(ctx, ServiceAlarmsArgs({**api.alarms(), **_alarms(ctx)}))
    pulumi.export("api_id", api.id)
    pulumi.export("url", api.endpoint)


def limit_of(ctx: CellContext) -> int:
    """How often a tenant may ask in ten seconds; RunError when the cell's label says nothing of the kind."""
    said = ctx.cell.labels.get("query_requests", str(REQUESTS))
    if not (said.isascii() and said.isdigit()) or int(said) < 1:
        raise pulumi.RunError(
            f"cell {ctx.cell.name}: label query_requests is {said!r}: expected a number of requests from 1, that a "
            "tenant may make in ten seconds"
        )
    return int(said)


def _limits(ctx: CellContext) -> dynamodb.Table:
    """Counts, which DynamoDB forgets by itself."""
    return dynamodb.Table(
        "limits",
        name=ctx.name("limits"),
        billing_mode="PAY_PER_REQUEST",
        hash_key="pk",
        attributes=[{"name": "pk", "type": "S"}],
        ttl={"attribute_name": "expires", "enabled": True},
    )


def _alarms(ctx: CellContext) -> dict[str, Alarm]:
    # A process that can't count tries again every five seconds: one that lost a packet is no alarm.
    return {
        "limits": Alarm(
            "LimitsFailed", "Audit", {"Service": ctx.service.name}, 5,
            "tenants' requests can't be counted, and all are let in",
        )
    }  # fmt: skip
