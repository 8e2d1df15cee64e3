"""What a stack carries, provable from outside the engine."""

from __future__ import annotations

import pulumi
from pulumi_aws import ssm

from cellwave.cell.context import CellContext


def release_marker(ctx: CellContext) -> ssm.Parameter:
    """The SSM parameter `/cellwave/<service>` with the digest of the stack's inputs, which is the same under every
    release that is the same to it.

    It is written last: it depends on everything made inside the boundary before it.
    """
    return ssm.Parameter(
        "release",
        name=f"/cellwave/{ctx.service.name}",
        type="String",
        value=ctx.inputs,
        description="What this stack carries, written when all else was done.",
        opts=pulumi.ResourceOptions(depends_on=list(ctx.made)),
    )
