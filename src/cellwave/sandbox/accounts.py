"""Clients in the cells' accounts."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from cellwave.fleet.model import Cell, Fleet

PATIENT = Config(retries={"mode": "standard", "max_attempts": 5})


class Accounts:
    """Clients with which the ambient credentials act in a cell, through the fleet's role; good for an hour.

    One session makes them all, so that each service's model is read once. Making clients is not for threads; using
    them is.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._session: Any = boto3.Session()
        self._keys: dict[str, dict[str, str]] = {}

    def client(self, service: str, cell: Cell) -> Any:
        """A client of that service in the cell's account and region."""
        role = self._fleet.role_arn(cell)
        keys = self._assume(role) if role else {}
        return self._session.client(service, region_name=cell.aws_region, config=PATIENT, **keys)

    def _assume(self, role: str) -> dict[str, str]:
        if role not in self._keys:
            sts = self._session.client("sts")
            assumed = sts.assume_role(RoleArn=role, RoleSessionName="cellwave-sandbox")["Credentials"]
            self._keys[role] = {
                "aws_access_key_id": assumed["AccessKeyId"],
                "aws_secret_access_key": assumed["SecretAccessKey"],
                "aws_session_token": assumed["SessionToken"],
            }
        return self._keys[role]
