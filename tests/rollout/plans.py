"""Small plans for the tests of the rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cellwave.waves.model import Bake, Plan, PlannedWave, Step

NEW, OLD = "n" * 64, "o" * 64
SERVICES: dict[str, tuple[str, ...]] = {"storage": (), "ingest": ("storage",), "query": ("storage",)}


def plan(
    waves: list[list[str]],
    *,
    concurrency: int = 2,
    bake: Bake | None = None,
    tolerance: int = 0,
    retries: int = 1,
    previous: str | None = OLD,
    approve: Sequence[int] | bool = False,
    pairs: Sequence[tuple[str, str]] = (),
    rollback_concurrency: int = 4,
    services: Mapping[str, tuple[str, ...]] = SERVICES,
) -> Plan:
    """A plan of cells with three services each: ingest and query need storage (or as `services` need each other).

    `approve` are the waves (from 1) that want a yes, or whether all do; in one wave the second of each of the `pairs`
    comes after the first.
    """
    first = {second: first for first, second in pairs}
    lasts = [s for s in services if not any(s in needs for needs in services.values())]
    wanted = range(1, len(waves) + 1) if approve is True else approve or ()
    return Plan(
        release=NEW,
        version="v2",
        tolerance=tolerance,
        retries=retries,
        rollback_concurrency=rollback_concurrency,
        partners=dict(pairs) | {second: first for first, second in pairs},
        waves=tuple(
            PlannedWave(
                number=number,
                name=f"w{number}",
                steps=tuple(
                    Step(
                        cell=cell,
                        service=service,
                        after=tuple(f"{cell}.{need}" for need in needs)
                        or tuple(f"{first[cell]}.{s}" for s in lasts if first.get(cell) in cells),
                        release=NEW,
                        previous=previous,
                        stateful=service == "storage",
                    )
                    for cell in cells
                    for service, needs in services.items()
                ),
                concurrency=concurrency,
                bake=bake or Bake(),
                approve=number in wanted,
            )
            for number, cells in enumerate(waves, 1)
        ),
    )
