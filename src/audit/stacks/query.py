"""The query service: an HTTP API whose function reads the index."""

from __future__ import annotations

import pulumi

from audit.stacks import access
from cellwave.cell import CellContext, code_archive
from cellwave.cell.alarms import ServiceAlarms, ServiceAlarmsArgs
from cellwave.cell.function import Function, FunctionArgs
from cellwave.cell.http_api import HttpApi, HttpApiArgs


def deploy(ctx: CellContext) -> None:
    """The API, its function and its alarms; outputs `api_id` and `url`."""
    function = Function(
        ctx,
        "query-api",
        FunctionArgs(
            code=code_archive(ctx.source, ctx.service.code),
            handler="audit.handlers.query.api.handler",
            environment={**access.environment(ctx), "INDEX_TABLE": ctx.name("index")},
            allow=[
                access.directory_object(ctx),
                access.index(ctx, "dynamodb:Query"),
                access.use_key(ctx, "index", "kms:Decrypt", through="dynamodb"),
            ],
        ),
    )
    api = HttpApi(ctx, HttpApiArgs(function))
    ServiceAlarms(ctx, ServiceAlarmsArgs(api.alarms()))
    pulumi.export("api_id", api.id)
    pulumi.export("url", api.endpoint)
