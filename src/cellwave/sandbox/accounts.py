"""Sessions in the cells' accounts."""

from __future__ import annotations

import boto3

from cellwave.fleet.model import Cell, Fleet


def cell_session(fleet: Fleet, cell: Cell) -> boto3.Session:
    """A session in the cell's account and region, for an hour: the ambient credentials assume the fleet's role."""
    role = fleet.role_arn(cell)
    if role is None:
        return boto3.Session(region_name=cell.aws_region)
    assumed = boto3.client("sts").assume_role(RoleArn=role, RoleSessionName="cellwave-sandbox")["Credentials"]
    return boto3.Session(
        aws_access_key_id=assumed["AccessKeyId"],
        aws_secret_access_key=assumed["SecretAccessKey"],
        aws_session_token=assumed["SessionToken"],
        region_name=cell.aws_region,
    )
