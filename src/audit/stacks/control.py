"""The control plane: who has keys, which tenants belong to which application, and what the cells are told of it."""

from __future__ import annotations

import json
from typing import Any

import pulumi
from pulumi_aws import dynamodb, iam, s3, ssm

from audit.stacks.buckets import PrivateBucket, PrivateBucketArgs
from audit.stacks.keys import mac_key
from cellwave.cell import CellContext
from cellwave.fleet.model import Cell, Region

TENANTS = 10_000  # at home in a cell, unless its label `tenants` says otherwise


def deploy(ctx: CellContext) -> None:
    """The tables of keys (hashes only), tenants, their homes and schemas; the bucket and the key of snapshots, and who
    may read which."""
    _table(ctx, "keys", "hash")
    _table(ctx, "tenants", "applicationId", "tenantId")
    _table(ctx, "applications", "applicationId")
    _table(ctx, "schemas", "applicationId", "name")
    # What was done to what is a tenant's, until each cell's log has it.
    _table(ctx, "events", "applicationId", "id", ttl={"attribute_name": "expires", "enabled": True})
    _table(ctx, "homes", "region", "holder")
    # Versioned: what the cells were told, and when, can be seen afterwards.
    bucket = PrivateBucket(ctx, "directory", PrivateBucketArgs(versioned=True))
    key = mac_key(ctx, "directory")
    for region in ctx.fleet.regions:
        _reader(ctx, region, bucket.bucket.arn, key.arn)
    s3.BucketObjectv2(
        "cells",
        bucket=bucket.bucket.bucket,
        key="cells.json",
        content=json.dumps({region.name: _told(region) for region in ctx.fleet.regions}),
        content_type="application/json",
    )
    ssm.Parameter(
        "regions",
        name="/audit/regions",
        type="StringList",
        value=",".join(region.name for region in ctx.fleet.regions),
        description="The product regions whose cells are told of keys and tenants.",
    )


def _told(region: Region) -> dict[str, object]:
    """A region and its cells, as `audit.homes` reads them."""
    cells = [
        {
            "name": cell.name,
            "weight": cell.weight,
            "tenants": size_of(cell),
            # Of another region is of another residency, for all that is known.
            "failover": cell.failover if cell.failover in {one.name for one in region.cells} else None,
            "parent": cell.parent,
        }
        for cell in region.cells
    ]
    return {"endpoint": region.endpoint, "residency": region.residency, "cells": cells}


def size_of(cell: Cell) -> int:
    """How many tenants may be at home in a cell; RunError when its label says nothing of the kind."""
    said = cell.labels.get("tenants", str(TENANTS))
    if not (said.isascii() and said.isdigit()):
        raise pulumi.RunError(
            f"cell {cell.name}: label tenants is {said!r}: expected how many tenants may be at home there"
        )
    return int(said)


def snapshot(region: str) -> str:
    """The object that the cells of a product region are told by."""
    return f"{region}.json"


def reader(control: Cell, region: str) -> str:
    """The role by which the cells of a product region read their snapshot."""
    return f"{control.name}-directory-{region}"


def _reader(ctx: CellContext, region: Region, bucket: pulumi.Output[str], key: pulumi.Output[str]) -> None:
    """A cell's own function, by its role's name: an account is asked for no role that is not there yet."""
    who = [
        f"arn:{cell.partition}:iam::{cell.account}:role/{cell.name}-directory-{cell.aws_region}"
        for cell in region.cells
    ]
    accounts = sorted({f"arn:{cell.partition}:iam::{cell.account}:root" for cell in region.cells})
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": accounts},
        "Action": "sts:AssumeRole",
        "Condition": {"ArnEquals": {"aws:PrincipalArn": who}},
    }
    name = reader(ctx.cell, region.name)
    role = iam.Role(
        f"directory-{region.name}",
        name=name,
        assume_role_policy=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    policy = pulumi.Output.all(bucket, key).apply(
        lambda arns: _may_read(arns[0], arns[1], snapshot(region.name))
    )
    iam.RolePolicy(f"directory-{region.name}", name="own", role=role.name, policy=policy)


def _may_read(bucket: str, key: str, name: str) -> str:
    allowed = [
        {"Action": ["s3:GetObject"], "Resource": f"{bucket}/{name}"},
        # Or what is not there would look like what may not be read.
        {"Action": ["s3:ListBucket"], "Resource": bucket},
        {"Action": ["kms:VerifyMac"], "Resource": key},
    ]
    statements = [{"Effect": "Allow", **statement} for statement in allowed]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _table(ctx: CellContext, name: str, hash_key: str, range_key: str | None = None, **more: Any) -> None:
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
        **more,
    )
