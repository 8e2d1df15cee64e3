"""The control plane: who has keys, and which tenants belong to which application. No cell asks it while serving."""

from __future__ import annotations

from pulumi_aws import dynamodb

from cellwave.cell import CellContext


def deploy(ctx: CellContext) -> None:
    """The tables of keys (hashes only) and of tenants."""
    _table(ctx, "keys", "hash")
    _table(ctx, "tenants", "applicationId", "tenantId")


def _table(ctx: CellContext, name: str, hash_key: str, range_key: str | None = None) -> None:
    keys = [key for key in (hash_key, range_key) if key is not None]
    dynamodb.Table(
        name,
        name=ctx.name(name),
        billing_mode="PAY_PER_REQUEST",
        hash_key=hash_key,
        range_key=range_key,
        attributes=[{"name": key, "type": "S"} for key in keys],
        point_in_time_recovery={"enabled": True},
        deletion_protection_enabled=not ctx.sandbox,
    )
