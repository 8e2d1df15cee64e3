"""A stack's resources as the engine writes them, and the fleet that they are judged by."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cellwave.fleet.model import Allowance, Fleet, Isolation
from cellwave.fleet.parse import parse_fleet
from cellwave.isolation.model import Bounds, Finding
from cellwave.isolation.rules import findings
from cellwave.states import UNKNOWN
from tests.fleet.files import FILES

FLEET = parse_fleet(FILES)
HERE, NEXT, CONTROL, NOBODYS = "200000000003", "200000000004", "200000000000", "999999999999"
PLACE = FLEET.place("us-west-2")
TODAY = "2026-11-29"


def provider(name: str = "default", package: str = "aws", **inputs: Any) -> dict[str, Any]:
    """A provider's state; nested inputs are JSON texts, as the engine keeps them."""
    urn = f"urn:pulumi:us-west-2.app::app::pulumi:providers:{package}::{name}"
    return {
        "urn": urn,
        "type": f"pulumi:providers:{package}",
        "custom": True,
        "id": "1234",
        "inputs": {k: v if isinstance(v, str) else json.dumps(v) for k, v in inputs.items()},
    }


def resource(
    through: dict[str, Any] | None, kind: str = "aws:sqs/queue:Queue", **parts: Any
) -> dict[str, Any]:
    """A resource's state."""
    return {
        "urn": f"urn:pulumi:us-west-2.app::app::{kind}::jobs",
        "type": kind,
        "custom": True,
        "provider": f"{through['urn']}::{UNKNOWN}" if through else "",
        "inputs": {},
        **parts,
    }


OWN = provider(region="us-west-2", allowedAccountIds=[HERE])


def bounds(
    *allow: Allowance,
    strict: bool = True,
    boundary: str | None = None,
    cell: str = "us-west-2",
    today: str = TODAY,
    fleet: Callable[[], Fleet | None] = lambda: FLEET,
    is_made: bool = True,
) -> Bounds:
    """What a service of a cell is held to."""
    isolation = Isolation(strict=strict, boundary=boundary, allow=allow)
    return Bounds(FLEET.place(cell), isolation, fleet, today, is_made)


def found(kind: str, inputs: dict[str, Any], held_to: Bounds | None = None, **parts: Any) -> list[Finding]:
    """What is found in one resource of the cell."""
    return findings([OWN, resource(OWN, kind, inputs=inputs, **parts)], held_to or bounds())


def policy(*statements: dict[str, Any]) -> str:
    """A policy document's text."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: Any, on: Any = "*") -> str:
    """The policy of a role that may do this."""
    return policy({"Effect": "Allow", "Action": action, "Resource": on})


def let_in(principal: Any, **more: Any) -> str:
    """The policy of a resource that lets these in."""
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Resource": "*"}
    return policy({**statement, **more})
