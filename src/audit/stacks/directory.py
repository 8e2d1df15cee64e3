"""The directory service: once a minute it brings what the control plane publishes into the cell."""

from __future__ import annotations

import pulumi
from pulumi_aws import lambda_

from audit.stacks import access
from audit.stacks.control import reader, snapshot
from audit.stacks.schedule import every_minute
from cellwave.cell import CellContext, code_archive
from cellwave.cell.alarms import ON_AWS, Alarm, ServiceAlarms, ServiceAlarmsArgs
from cellwave.cell.function import Function, FunctionArgs
from cellwave.fleet.model import Cell

SECONDS = 20  # the longest that a pull takes


def deploy(ctx: CellContext) -> None:
    """The function, its first call, its schedule and its alarms."""
    control = ctx.known.control
    region = ctx.known.region_of(ctx.cell.name)
    if control is None or region is None:
        raise pulumi.RunError("cells/fleet.yaml: the audit product needs a `control` cell")
    function = _function(ctx, control, region.name)
    # A cell is ready when it knows its customers, and new code when it has run here.
    called = lambda_.Invocation(
        "first",
        function_name=function.name,
        qualifier=function.function.version,
        input="{}",
        triggers={"version": function.function.version},
    )
    every_minute(
        ctx,
        "directory",
        function,
        "Brings the control plane's directory into the cell.",
        after=[called],
    )
    ServiceAlarms(ctx, ServiceAlarmsArgs(_alarms(function.name), timing=ON_AWS))


def _function(ctx: CellContext, control: Cell, region: str) -> Function:
    role = f"arn:{control.partition}:iam::{control.account}:role/{reader(control, region)}"
    return Function(
        ctx,
        "directory",
        FunctionArgs(
            code=code_archive(ctx.source, ctx.service.code),
            handler="audit.handlers.directory.pull.handler",
            environment={
                **access.environment(ctx),
                "LANDING_BUCKET": ctx.bucket("landing"),
                "PRODUCT_REGION": region,
                "CONTROL_REGION": control.aws_region,
                "CONTROL_BUCKET": f"{control.name}-{control.account}-directory",
                "CONTROL_OBJECT": snapshot(region),
                "CONTROL_KEY": f"alias/{control.name}-directory",
                "CONTROL_ROLE": role,
                # The global endpoint is another region's to fail.
                "AWS_STS_REGIONAL_ENDPOINTS": "regional",
            },
            allow=[
                access.directory_object(
                    ctx, "s3:GetObject", "s3:PutObject", "s3:GetObjectTagging", "s3:PutObjectTagging"
                ),
                *access.told(ctx),
                *access.tell_tenants(ctx),
                {"Action": ["sts:AssumeRole"], "Resource": role},
            ],
            timeout=SECONDS,
        ),
    )


def _alarms(function: str) -> dict[str, Alarm]:
    return {
        "errors": Alarm(
            "Errors", "AWS/Lambda", {"FunctionName": function}, 0, "the cell's directory can't be kept"
        ),
        "stale": Alarm(
            "Stale", "Audit", {"Service": "directory"}, 0,
            "the control plane's directory can't be had, or may not be taken: the last good one serves on",
        ),
    }  # fmt: skip
