"""The router: of a region of several cells any one's answers at the public hosts, and asks the others at theirs."""

from __future__ import annotations

import os

import pulumi

from audit.stacks import access
from cellwave.cell import CellContext, code_archive
from cellwave.cell.alarms import ServiceAlarms, ServiceAlarmsArgs
from cellwave.cell.function import Function, FunctionArgs
from cellwave.cell.http_api import HttpApi, HttpApiArgs

SECONDS = 29  # an HTTP API waits for 30


def deploy(ctx: CellContext) -> None:
    """The API, its function and the alarms; outputs `api_id` and `url`. It keeps nothing."""
    edge = os.environ.get("CELLWAVE_EDGE_URL")
    function = Function(
        ctx,
        "router",
        FunctionArgs(
            code=code_archive(ctx.source, ctx.service.code),
            handler="audit.handlers.router.api.handler",
            environment={
                **access.environment(ctx),
                **({"EDGE_URL": edge} if edge else {}),
            },
            # All that it knows is its cell's copy of the directory; what it asks of cells it asks as its callers do.
            allow=[access.directory_object(ctx)],
            timeout=SECONDS,
            memory=512,
        ),
    )
    api = HttpApi(ctx, HttpApiArgs(function))
    ServiceAlarms(ctx, ServiceAlarmsArgs({f"api-{name}": alarm for name, alarm in api.alarms().items()}))
    pulumi.export("api_id", api.id)
    pulumi.export("url", api.endpoint)
