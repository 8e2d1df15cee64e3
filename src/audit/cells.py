"""A person's way into a cell: the fleet's role there, and the names of what the stacks made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3

from cellwave.fleet.model import Cell, Fleet

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


@dataclass(frozen=True)
class InCell:
    """A cell, its product region's endpoint, and a session of its account and region."""

    cell: Cell
    endpoint: str
    session: Any

    def client(self, service: str) -> Any:
        """A client of that AWS service."""
        return self.session.client(service)

    def table(self, kind: str) -> Table:
        """The table of that kind."""
        found: Table = self.session.resource("dynamodb").Table(self.name(kind))
        return found

    def name(self, kind: str) -> str:
        """The physical name of what the stacks name by the cell."""
        return f"{self.cell.name}-{kind}"

    def bucket(self, kind: str) -> str:
        """A bucket's name."""
        return f"{self.cell.name}-{self.cell.account}-{kind}"


def in_cell(fleet: Fleet, cell: Cell) -> InCell:
    """That cell by the fleet's role, with this shell's credentials where there is none; raises botocore's errors."""
    keys: dict[str, Any] = {}
    if role := fleet.role_arn(cell):
        sts = boto3.client("sts", region_name=cell.aws_region)
        found = sts.assume_role(RoleArn=role, RoleSessionName="cellwave-audit")["Credentials"]
        keys = {
            "aws_access_key_id": found["AccessKeyId"],
            "aws_secret_access_key": found["SecretAccessKey"],
            "aws_session_token": found["SessionToken"],
        }
    region = fleet.region_of(cell.name)
    return InCell(cell, region.endpoint if region else "", boto3.Session(region_name=cell.aws_region, **keys))
