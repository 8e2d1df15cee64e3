"""The port through which gates see: one method. Adapters: CloudWatch, HTTP, and the fake of the tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cellwave.fleet.model import Fleet, QuantileReference, RatioReference, Signal
from cellwave.frozen import Frozen
from cellwave.health.model import Reading

Readable = Signal | RatioReference | QuantileReference


class Scope(Frozen):
    """Where a deployment runs: its account and AWS region, the role that opens the account (None: ambient
    credentials), and its stack's outputs. `region` is the product region, empty for the control plane."""

    cell: str
    service: str
    region: str = ""
    account: str
    aws_region: str
    role: str | None = None
    outputs: dict[str, str] = {}

    @classmethod
    def of(cls, fleet: Fleet, cell: str, service: str, outputs: Mapping[str, str] | None = None) -> Scope:
        """The scope of a deployment; KeyError when the fleet has no such cell or service."""
        found, region = fleet.cell(cell), fleet.region_of(cell)
        return cls(
            cell=cell,
            service=fleet.service(cell, service).name,
            region=region.name if region else "",
            account=found.account,
            aws_region=found.aws_region,
            role=fleet.role_arn(found),
            outputs=dict(outputs or {}),
        )


class SignalSource(Protocol):
    """Reads one signal of one deployment, or a reference beside it."""

    def read(self, signal: Readable, scope: Scope, since: float) -> Reading:
        """What the signal says now, from data newer than `since` (epoch seconds) alone.

        The signal's texts are already expanded. Never raises for what it meets outside: that is an Unreadable.
        """
        ...
