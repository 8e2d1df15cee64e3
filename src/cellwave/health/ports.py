"""The port through which gates see: one method, a look at a time. Adapters: CloudWatch, HTTP, and the tests' fake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class Wanted(Frozen):
    """A signal of a deployment, or a reference beside it, to be read from what is newer than `since` (epoch seconds).

    The signal's texts are already expanded.
    """

    signal: Readable
    scope: Scope
    since: float


class SignalSource(Protocol):
    """Reads the signals of a look."""

    def read(self, wanted: Sequence[Wanted]) -> list[Reading]:
        """What each says now, in their order.

        Times are by this host's clock, whatever the source's own says. NaN and infinity are no data. Never raises for
        what it meets outside: that is an Unreadable, of the signals that it concerns alone.
        """
        ...
