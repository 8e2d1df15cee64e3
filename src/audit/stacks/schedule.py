"""A function of a cell that is called once a minute."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_aws import cloudwatch, lambda_

from cellwave.cell import CellContext
from cellwave.cell.function import ALIAS, Function

EVERY = "rate(1 minute)"  # no schedule is shorter


def every_minute(
    ctx: CellContext, name: str, function: Function, why: str, *, after: Sequence[pulumi.Resource] = ()
) -> None:
    """Have the function of that name called once a minute, once what it comes `after` is there."""
    rule = cloudwatch.EventRule(
        name,
        name=ctx.name(name),
        description=why,
        schedule_expression=EVERY,
        opts=pulumi.ResourceOptions(depends_on=list(after)),
    )
    permission = lambda_.Permission(
        name,
        statement_id="schedule",
        action="lambda:InvokeFunction",
        function=function.name,
        qualifier=ALIAS,
        principal="events.amazonaws.com",
        source_arn=ctx.arn("events", f"rule/{ctx.name(name)}"),
        opts=pulumi.ResourceOptions(depends_on=[function.alias]),
    )
    cloudwatch.EventTarget(
        name,
        rule=rule.name,
        target_id=name,
        arn=function.alias.arn,
        opts=pulumi.ResourceOptions(depends_on=[permission]),
    )
