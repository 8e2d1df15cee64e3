"""Small plans for the tests of the rollout."""

from __future__ import annotations

from cellwave.waves.model import Bake, Plan, PlannedWave, Step

NEW, OLD = "n" * 64, "o" * 64
SERVICES = ("storage", "ingest", "query")


def plan(
    waves: list[list[str]],
    *,
    concurrency: int = 2,
    bake: Bake | None = None,
    tolerance: int = 0,
    retries: int = 1,
    previous: str | None = OLD,
    approve: bool = False,
) -> Plan:
    """A plan of cells with three services each: ingest and query need storage."""
    return Plan(
        release=NEW,
        version="v2",
        tolerance=tolerance,
        retries=retries,
        waves=tuple(
            PlannedWave(
                number=number,
                name=f"w{number}",
                steps=tuple(
                    Step(
                        cell=cell,
                        service=service,
                        after=() if service == "storage" else (f"{cell}.storage",),
                        release=NEW,
                        previous=previous,
                        stateful=service == "storage",
                    )
                    for cell in cells
                    for service in SERVICES
                ),
                concurrency=concurrency,
                bake=bake or Bake(),
                approve=approve,
            )
            for number, cells in enumerate(waves, 1)
        ),
    )
