"""What a cell keeps: the locked archive, the landing bucket, the index, and the cell's copy of the directory."""

from __future__ import annotations

import pulumi
from pulumi_aws import dynamodb, kms, s3

from audit.stacks.buckets import PrivateBucket, PrivateBucketArgs, Retention
from audit.stacks.days import LANDING_DAYS
from cellwave.cell import CellContext
from cellwave.cell.alarms import Alarm, ServiceAlarms, ServiceAlarmsArgs


def deploy(ctx: CellContext) -> None:
    """Buckets, index table, keys and alarms of a cell."""
    archive_key = _key(ctx, "archive")
    PrivateBucket(ctx, "archive", PrivateBucketArgs(key_arn=archive_key.arn, retention=Retention.of(ctx)))
    # Versioned: an object overwritten before it was processed is still there.
    PrivateBucket(
        ctx, "landing", PrivateBucketArgs(key_arn=archive_key.arn, versioned=True, expire_days=LANDING_DAYS)
    )
    # Versioned too: what was accepted names the version of the directory that it was accepted by.
    config = PrivateBucket(ctx, "config", PrivateBucketArgs(versioned=True))
    s3.BucketObjectv2(
        "directory",
        bucket=config.bucket.bucket,
        key="directory.json",
        # Nobody yet: what it holds is brought by the service `directory`, and nothing of this program's.
        content='{"applications": {}}',
        content_type="application/json",
        opts=pulumi.ResourceOptions(ignore_changes=["content"]),
    )
    _index(ctx)
    ServiceAlarms(
        ctx,
        ServiceAlarmsArgs({name: _system_errors(ctx, name) for name in ("Query", "BatchExecuteStatement")}),
    )


def _key(ctx: CellContext, name: str) -> kms.Key:
    key = kms.Key(
        name,
        description=f"{ctx.cell.name}: {name}",
        enable_key_rotation=True,
        deletion_window_in_days=7 if ctx.sandbox else 30,
    )
    kms.Alias(name, name=f"alias/{ctx.name(name)}", target_key_id=key.key_id)
    return key


def _index(ctx: CellContext) -> None:
    dynamodb.Table(
        "index",
        name=ctx.name("index"),
        billing_mode="PAY_PER_REQUEST",
        hash_key="pk",
        range_key="sk",
        attributes=[{"name": "pk", "type": "S"}, {"name": "sk", "type": "S"}],
        server_side_encryption={"enabled": True, "kms_key_arn": _key(ctx, "index").arn},
        point_in_time_recovery={"enabled": True},
        deletion_protection_enabled=not ctx.sandbox,
    )


def _system_errors(ctx: CellContext, operation: str) -> Alarm:
    dimensions = {"TableName": ctx.name("index"), "Operation": operation}
    return Alarm("SystemErrors", "AWS/DynamoDB", dimensions, 0, f"DynamoDB failed a {operation} of the index")
