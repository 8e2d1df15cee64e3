"""What each cell runs."""

from __future__ import annotations

from cellwave.frozen import Frozen
from cellwave.usecases.fleet_status import StackStatus, fleet_status
from cellwave.usecases.surroundings import Surroundings


class CellRuns(Frozen):
    """A cell, and by service: the release that was last proven there (None: none is recorded) as people call it, the
    one that the state backend says is there, since when each (epoch seconds), and how they differ in words.

    A cell that is in no fleet any more has neither account, AWS region nor weight.
    """

    cell: str
    region: str | None
    account: str | None
    aws_region: str | None
    weight: float | None
    services: dict[str, str | None]
    proven_at: dict[str, float | None]
    observed: dict[str, str | None]
    observed_at: dict[str, float | None]
    drift: dict[str, str]
    leased_to: str | None
    in_fleet: bool


def cells(around: Surroundings) -> list[CellRuns]:
    """Every cell of the working tree's fleet, then those in which something is left that it has no more."""
    fleet, _ = around.configuration()
    known = {cell.name: cell for cell in fleet.every_cell}
    stacks: dict[str, list[StackStatus]] = {name: [] for name in known}
    for status in fleet_status(around):
        stacks.setdefault(status.cell, []).append(status)
    found = []
    for name, of_cell in stacks.items():
        cell = known.get(name)
        region = fleet.region_of(name)
        found.append(
            CellRuns(
                cell=name,
                region=region.name if region else None,
                account=cell.account if cell else None,
                aws_region=cell.aws_region if cell else None,
                weight=cell.weight if cell else None,
                services={s.service: s.expected and s.expected.name for s in of_cell},
                proven_at={s.service: s.expected and s.expected.since for s in of_cell},
                observed={s.service: s.observed and s.observed.name for s in of_cell},
                observed_at={s.service: s.observed and s.observed.since for s in of_cell},
                drift={s.service: s.drift for s in of_cell if s.drift},
                leased_to=next((s.leased_to for s in of_cell), None),
                in_fleet=cell is not None,
            )
        )
    return found
