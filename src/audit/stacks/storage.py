"""What a cell keeps: the locked archive, the landing bucket, index and logs, and the cell's copy of the directory."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi_aws import dynamodb, kms, s3

from audit.stacks.archive import archive_bucket
from audit.stacks.buckets import PrivateBucket, PrivateBucketArgs
from audit.stacks.days import LANDING_DAYS
from audit.stacks.keys import kms_key
from cellwave.cell import CellContext
from cellwave.cell.alarms import Alarm, ServiceAlarms, ServiceAlarmsArgs


def deploy(ctx: CellContext) -> None:
    """Buckets, index table, keys and alarms of a cell."""
    archive_key = kms_key(ctx, "archive")
    archive_bucket(ctx, archive_key.arn)
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
    index_key = kms_key(ctx, "index")
    _table(ctx, "index", index_key, ttl={"attribute_name": "forget", "enabled": True})
    _log(ctx, index_key)
    # Where tenants' events are sent to; what opens their secrets is a key of its own.
    _table(ctx, "streams", kms_key(ctx, "streams"))
    ServiceAlarms(
        ctx,
        ServiceAlarmsArgs({name: _system_errors(ctx, name) for name in ("Query", "BatchExecuteStatement")}),
    )


def _log(ctx: CellContext, key: kms.Key) -> None:
    """Where the tenants' logs are: their tiles, the places and salts of their events, and what signs for them."""
    PrivateBucket(ctx, "log", PrivateBucketArgs(expire="_staged/", expire_days=LANDING_DAYS))
    _table(ctx, "log", key)
    # A log is known by its key: with another it would be another log.
    kms_key(ctx, "log", encrypts=False)


def _table(ctx: CellContext, name: str, key: kms.Key, **more: Any) -> None:
    dynamodb.Table(
        name,
        name=ctx.name(name),
        billing_mode="PAY_PER_REQUEST",
        hash_key="pk",
        range_key="sk",
        attributes=[{"name": "pk", "type": "S"}, {"name": "sk", "type": "S"}],
        server_side_encryption={"enabled": True, "kms_key_arn": key.arn},
        point_in_time_recovery={"enabled": True},
        deletion_protection_enabled=not ctx.sandbox,
        **more,
    )


def _system_errors(ctx: CellContext, operation: str) -> Alarm:
    dimensions = {"TableName": ctx.name("index"), "Operation": operation}
    return Alarm("SystemErrors", "AWS/DynamoDB", dimensions, 0, f"DynamoDB failed a {operation} of the index")
