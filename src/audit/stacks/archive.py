"""The archive bucket: locked, expired by class when its locks are over, and closed to whoever would take from it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_aws import s3

from audit.stacks.buckets import PrivateBucket, PrivateBucketArgs, Retention
from audit.stacks.days import CLASS_DAYS, SPARE_DAYS
from cellwave.cell import CellContext

BREAK_GLASS = "break_glass"  # a cell's label: the name of the role of last resort. Without it there is none
# What takes an event away, or hides it. (A lifecycle rule asks no policy.)
TAKES = (
    "s3:BypassGovernanceRetention", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:DeleteObjectTagging",
    "s3:ReplicateDelete", "s3:ReplicateObject", "s3:ObjectOwnerOverrideToBucketOwner",
)  # fmt: skip
# What would change the rules: for who deploys the cell, and nobody else.
GOVERNS = (
    "s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:PutBucketAcl", "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock", "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration", "s3:PutReplicationConfiguration",
)  # fmt: skip


def archive_bucket(ctx: CellContext, key_arn: pulumi.Input[str]) -> None:
    """The bucket, its lock, its rules and its policy."""
    made = PrivateBucket(
        ctx,
        "archive",
        PrivateBucketArgs(key_arn=key_arn, retention=Retention.of(ctx), rules=rules()),
    )
    s3.BucketPolicy(
        "archive",
        bucket=made.bucket.bucket,
        policy=json.dumps(policy(ctx)),
        opts=pulumi.ResourceOptions(parent=made),
    )


def rules() -> list[dict[str, Any]]:
    """A lifecycle rule a class, for what is not held: the lock is over by then, or S3 leaves the object where it is.

    What has no class expires never. The marker that is left of an object goes by itself.
    """
    expire = [
        {
            "id": f"kept-{name}",
            "status": "Enabled",
            "filter": {"and_": {"tags": {"kept": name, "held": "no"}}},
            "expiration": {"days": days + SPARE_DAYS},
            "noncurrent_version_expiration": {"noncurrent_days": 1},
        }
        for name, days in CLASS_DAYS.items()
    ]
    markers = {
        "id": "markers",
        "status": "Enabled",
        "filter": {"prefix": ""},
        "expiration": {"expired_object_delete_marker": True},
        "abort_incomplete_multipart_upload": {"days_after_initiation": 1},
    }
    return [*expire, markers]


def policy(ctx: CellContext) -> dict[str, Any]:
    """What nobody may do to the archive, whatever another policy allows, but the role of last resort.

    The cell's deployment role governs the bucket, and takes nothing from it either. RunError for a label that is none.
    """
    bucket = f"arn:{ctx.cell.partition}:s3:::{ctx.bucket('archive')}"
    last = break_glass(ctx)
    deployer = ctx.known.role_arn(ctx.cell)
    statements = [
        _deny("Takes", TAKES, f"{bucket}/*", last),
        _deny("Overwrites", ["s3:PutObject"], f"{bucket}/*", last, {"Null": {"s3:if-none-match": "true"}}),
    ]
    # Where a shell deploys by its own credentials, nobody can say whose they are.
    if deployer:
        who = [deployer, *last]
        lifts = {"StringEquals": {"s3:object-lock-legal-hold": "OFF"}}
        statements += [
            _deny("LiftsHolds", ["s3:PutObjectLegalHold"], f"{bucket}/*", who, lifts),
            _deny("Governs", GOVERNS, bucket, who),
        ]
    return {"Version": "2012-10-17", "Statement": statements}


def break_glass(ctx: CellContext) -> list[str]:
    """The role of last resort by its ARN; none where the cell's label names none."""
    name = ctx.cell.labels.get(BREAK_GLASS)
    if name is None:
        return []
    if not re.fullmatch(r"[\w+=,.@-]{1,64}", name, re.ASCII):
        raise pulumi.RunError(
            f"cell {ctx.cell.name}: label {BREAK_GLASS} is {name!r}: expected the name of a role in the cell's account"
        )
    return [f"arn:{ctx.cell.partition}:iam::{ctx.cell.account}:role/{name}"]


def _deny(
    sid: str,
    actions: Sequence[str],
    resource: str,
    but: Sequence[str],
    condition: dict[str, dict[str, str]] | None = None,
) -> dict[str, Any]:
    conditions: dict[str, Any] = dict(condition or {})
    if but:
        conditions["ArnNotLike"] = {"aws:PrincipalArn": list(but)}
    return {
        "Sid": sid,
        "Effect": "Deny",
        "Principal": "*",
        "Action": list(actions),
        "Resource": resource,
        **({"Condition": conditions} if conditions else {}),
    }
