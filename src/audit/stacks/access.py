"""What the functions of a cell may do: IAM statements, each for one thing they really call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from cellwave.cell import CellContext

Statement = Mapping[str, Any]


def environment(ctx: CellContext) -> dict[str, str]:
    """What every handler is told."""
    return {"SERVICE": ctx.service.name, "CELL": ctx.cell.name, "CONFIG_BUCKET": ctx.bucket("config")}


def directory_object(ctx: CellContext, *actions: str) -> Statement:
    """The cell's copy of the directory: read it as it is now, unless `actions` say more."""
    return {
        "Action": list(actions) or ["s3:GetObject"],
        "Resource": f"arn:{ctx.cell.partition}:s3:::{ctx.bucket('config')}/directory.json",
    }


def told(ctx: CellContext) -> list[Statement]:
    """How far the cell's logs are told of what was done in the control plane."""
    return [objects(ctx, "config", "s3:GetObject", "s3:PutObject", named="told.json"), names(ctx, "config")]


def objects(ctx: CellContext, kind: str, *actions: str, named: str = "*") -> Statement:
    """Act on the objects of a bucket, of such names (`*` is any text, with slashes) alone."""
    return {"Action": list(actions), "Resource": f"arn:{ctx.cell.partition}:s3:::{ctx.bucket(kind)}/{named}"}


def add_objects(ctx: CellContext, kind: str, named: str = "*") -> Statement:
    """Put objects that are not there yet into a bucket, and never one in another's place."""
    # The condition of AWS's own policy that enforces conditional writes.
    return {
        **objects(ctx, kind, "s3:PutObject", named=named),
        "Condition": {"Null": {"s3:if-none-match": "false"}},
    }


def names(ctx: CellContext, kind: str) -> Statement:
    """See the names of a bucket's objects, or what is not there would look like what may not be read."""
    return {"Action": ["s3:ListBucket"], "Resource": f"arn:{ctx.cell.partition}:s3:::{ctx.bucket(kind)}"}


def tell_tenants(ctx: CellContext) -> list[Statement]:
    """Put internal events where they are taken in, and nothing else into the landing bucket."""
    return [
        add_objects(ctx, "landing", named="_waiting/_internal/*"),
        use_key(ctx, "archive", "kms:GenerateDataKey", through="s3"),
    ]


def list_objects(ctx: CellContext, kind: str, below: str) -> Statement:
    """See the names of a bucket's objects below a folder."""
    return {
        "Action": ["s3:ListBucket"],
        "Resource": f"arn:{ctx.cell.partition}:s3:::{ctx.bucket(kind)}",
        "Condition": {"StringLike": {"s3:prefix": f"{below}/*"}},
    }


def decrypt_objects(ctx: CellContext, kind: str, key: str) -> Statement:
    """Use the KMS key of that alias to read what lies in one bucket: others may be encrypted with the same."""
    used = use_key(ctx, key, "kms:Decrypt", through="s3")
    # With a bucket key, as all have, S3 gives the bucket as context.
    bucket = {"kms:EncryptionContext:aws:s3:arn": f"arn:{ctx.cell.partition}:s3:::{ctx.bucket(kind)}"}
    condition = used["Condition"]
    return {
        **used,
        "Condition": {**condition, "StringEquals": {**condition["StringEquals"], **bucket}},
    }


def index(ctx: CellContext, *actions: str) -> Statement:
    """Act on the index table."""
    return {"Action": list(actions), "Resource": ctx.arn("dynamodb", f"table/{ctx.name('index')}")}


def use_key(ctx: CellContext, name: str, *actions: str, through: str) -> Statement:
    """Use the KMS key of that alias, for one AWS service only."""
    return {
        "Action": list(actions),
        "Resource": ctx.arn("kms", "key/*"),
        "Condition": {
            "ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{ctx.name(name)}"},
            "StringEquals": {"kms:ViaService": f"{through}.{ctx.cell.aws_region}.{ctx.cell.dns_suffix}"},
        },
    }


def log_settings(ctx: CellContext) -> dict[str, str]:
    """Where the tenants' logs are, and what they are named by; RunError in a cell of no product region."""
    region = ctx.known.region_of(ctx.cell.name)
    if region is None:
        raise pulumi.RunError(f"cell {ctx.cell.name} is in no product region, which a log is named by")
    return {
        "LOG_ORIGIN": region.endpoint,
        "LOG_BUCKET": ctx.bucket("log"),
        "LOG_TABLE": ctx.name("log"),
        "LOG_KEY": f"alias/{ctx.name('log')}",
    }


def log(ctx: CellContext, *actions: str) -> list[Statement]:
    """Act on the tiles and checkpoints of the logs."""
    return [objects(ctx, "log", *actions), names(ctx, "log")]


def log_places(ctx: CellContext, *actions: str) -> Statement:
    """Act on the table of where events are in their logs."""
    return {"Action": list(actions), "Resource": ctx.arn("dynamodb", f"table/{ctx.name('log')}")}


def key(ctx: CellContext, name: str, *actions: str) -> Statement:
    """Use the KMS key of that alias by itself."""
    return {
        "Action": list(actions),
        "Resource": ctx.arn("kms", "key/*"),
        "Condition": {"ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{ctx.name(name)}"}},
    }


def log_key(ctx: CellContext, *actions: str) -> Statement:
    """Use the key that signs for the logs."""
    return key(ctx, "log", *actions)


def read_logged(ctx: CellContext) -> list[Statement]:
    """Read what the logs are of, in their order: tiles, places, and the archive's objects."""
    return [
        *log(ctx, "s3:GetObject"),
        log_places(ctx, "dynamodb:BatchGetItem"),
        use_key(ctx, "index", "kms:Decrypt", through="dynamodb"),
        objects(ctx, "archive", "s3:GetObject"),
        # What is gone is told from what may not be read.
        names(ctx, "archive"),
        decrypt_objects(ctx, "archive", "archive"),
    ]
