"""A private bucket of a cell: encrypted, never public, its owner the only owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import s3

from cellwave.cell import CellContext


@dataclass(frozen=True)
class Retention:
    """How long an object can't be changed or deleted. In GOVERNANCE mode a privileged person still may."""

    mode: str
    days: int

    @classmethod
    def of(cls, ctx: CellContext) -> Retention:
        """By the cell's labels `retention_mode` and `retention_days`; COMPLIANCE for a year without them.

        In the sandbox GOVERNANCE for a day, so that a stack can be destroyed.
        """
        mode, days = ("GOVERNANCE", "1") if ctx.sandbox else ("COMPLIANCE", "365")
        mode = ctx.cell.labels.get("retention_mode", mode)
        days = ctx.cell.labels.get("retention_days", days)
        if (
            mode not in ("GOVERNANCE", "COMPLIANCE")
            or not (days.isascii() and days.isdigit())
            or int(days) < 1
        ):
            raise pulumi.RunError(
                f"cell {ctx.cell.name}: labels retention_mode {mode!r}, retention_days {days!r}: "
                "expected GOVERNANCE or COMPLIANCE, and a number of days from 1"
            )
        return cls(mode, int(days))


@dataclass(frozen=True)
class PrivateBucketArgs:
    """`key_arn` encrypts with that KMS key (None: with S3's own). `retention` locks every object; `rules` are
    rules of its lifecycle; `expire_days`
    deletes every object, and every version, whose name begins with `expire`, after as many days. What is `made_anew`
    by whoever asks again goes with its stack; any other bucket on AWS stays as long as it holds an object."""

    key_arn: pulumi.Input[str] | None = None
    versioned: bool = False
    retention: Retention | None = None
    rules: Sequence[Mapping[str, Any]] = ()
    expire_days: int | None = None
    expire: str = ""
    made_anew: bool = False


class PrivateBucket(pulumi.ComponentResource):
    """The bucket `<cell>-<account>-<kind>`."""

    def __init__(self, ctx: CellContext, kind: str, args: PrivateBucketArgs) -> None:
        super().__init__("audit:storage:PrivateBucket", kind)
        self._kind = kind
        self._inside = pulumi.ResourceOptions(parent=self)
        self.bucket = s3.Bucket(
            kind,
            bucket=ctx.bucket(kind),
            object_lock_enabled=args.retention is not None,
            # What is thrown away with the sandbox may be thrown away with its stack.
            force_destroy=args.made_anew or ctx.sandbox,
            opts=self._inside,
        )
        self._encrypt(args.key_arn)
        s3.BucketPublicAccessBlock(
            kind,
            bucket=self.bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._inside,
        )
        versioning = self._keep_versions() if args.versioned or args.retention else None
        if args.retention:
            self._lock(args.retention, versioning)
        rules = [*args.rules, *([_expiry(args.expire, args.expire_days)] if args.expire_days else [])]
        if rules:
            self._live_by(rules, versioning)
        self.register_outputs({"name": self.bucket.bucket})

    def _encrypt(self, key_arn: pulumi.Input[str] | None) -> None:
        algorithm = "aws:kms" if key_arn else "AES256"
        s3.BucketServerSideEncryptionConfiguration(
            self._kind,
            bucket=self.bucket.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": algorithm,
                        "kms_master_key_id": key_arn,
                    },
                    "bucket_key_enabled": key_arn is not None,
                }
            ],
            opts=self._inside,
        )

    def _keep_versions(self) -> s3.BucketVersioning:
        return s3.BucketVersioning(
            self._kind,
            bucket=self.bucket.bucket,
            versioning_configuration={"status": "Enabled"},
            opts=self._inside,
        )

    def _lock(self, retention: Retention, versioning: pulumi.Resource | None) -> None:
        s3.BucketObjectLockConfiguration(
            self._kind,
            bucket=self.bucket.bucket,
            rule={"default_retention": {"mode": retention.mode, "days": retention.days}},
            opts=pulumi.ResourceOptions(parent=self, depends_on=versioning),
        )

    def _live_by(self, rules: Sequence[Any], versioning: pulumi.Resource | None) -> None:
        s3.BucketLifecycleConfiguration(
            self._kind,
            bucket=self.bucket.bucket,
            rules=rules,
            opts=pulumi.ResourceOptions(parent=self, depends_on=versioning),
        )


def _expiry(prefix: str, days: int) -> dict[str, Any]:
    return {
        "id": "expire",
        "status": "Enabled",
        "filter": {"prefix": prefix},
        "expiration": {"days": days},
        "noncurrent_version_expiration": {"noncurrent_days": days},
        "abort_incomplete_multipart_upload": {"days_after_initiation": days},
    }
