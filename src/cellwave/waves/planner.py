"""Fleet, strategy and release -> Plan, and a plan's way back. Pure: equal input gives an equal plan.

What holds for every plan: each cell stands in one wave; inside a cell services follow `needs`; the two cells
of a failover pair are never in flight together, because every first step of the second comes after all last
steps of the first; and no `concurrency` cells of a wave together carry more of the fleet's weight than the
budget.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from cellwave.errors import BadInput
from cellwave.fleet.model import Cell, Fleet
from cellwave.fleet.select import cells_named, select
from cellwave.release import Release
from cellwave.waves.graph import Graph
from cellwave.waves.model import Bake, Plan, PlannedWave, Step, Strategy, Wave

_ROUNDING = 1e-9


def make_plan(
    fleet: Fleet,
    strategy: Strategy,
    release: Release,
    running: Mapping[str, str | None],
    cells: Collection[str] | None = None,
) -> Plan:
    """The waves that bring the release to the fleet, or to these `cells` only (waves without any are left
    out).

    `running` maps a stack to the digest it runs now (missing or None: nothing). A wave keeps its number in
    the strategy. BadInput: an unknown cell, or a cell heavier than the whole budget.
    """
    if problem := over_budget(fleet, strategy.budget):
        raise BadInput("waves.yaml: budget", *problem)
    wanted = {cell.name for cell in (fleet.cells if cells is None else cells_named(fleet, cells, "cells"))}
    waves = []
    for number, wave in enumerate(strategy.waves, 1):
        chosen = select(fleet, cells=wave.cells, regions=wave.regions, labels=wave.labels)
        if members := sorted((c for c in chosen if c.name in wanted), key=lambda c: (c.weight, c.name)):
            planned = _plan_wave(
                wave, members, fleet, strategy, number=number, release=release, running=running
            )
            waves.append(planned)
    return Plan(
        release=release.digest,
        version=release.version,
        tolerance=strategy.tolerance,
        retries=strategy.retries,
        rollback_concurrency=strategy.rollback_concurrency,
        waves=tuple(waves),
    )


def over_budget(fleet: Fleet, budget: float) -> tuple[str, str] | None:
    """What is wrong, and what would be right, when one cell alone carries more of the fleet's weight than the
    budget.

    Such a cell could never be changed at all: a cell is one account and one region and can't be changed in
    part. So the budget is refused when it is written, instead of being passed over when the cell's turn
    comes.
    """
    heaviest = max(fleet.cells, key=lambda c: c.weight)
    share = heaviest.weight / _weight(fleet.cells)
    if share <= budget + _ROUNDING:
        return None
    found = f"a budget of {budget:.1%} of the traffic, but {heaviest.name} alone carries {share:.1%}"
    return found, f"a budget of at least {share:.4g}, or the cell's traffic spread over more cells"


def make_rollback(plan: Plan, touched: Sequence[str]) -> Plan:
    """The way back of what a rollout touched (deployments in the order of being touched).

    Waves and edges are reversed and nothing bakes. What ran another release before goes back to it; what ran none is
    taken away, unless it is stateful: that keeps its data, and a reason of its cell says so. KeyError: a deployment
    that the plan does not have.
    """
    steps = {step.deployment: step for step in plan.steps}
    rank = {name: place for place, name in enumerate(dict.fromkeys(touched)) if steps[name]}
    waves = (_back_wave(wave, rank, plan.rollback_concurrency) for wave in reversed(plan.waves))
    return plan.model_copy(
        update={"direction": "back", "waves": tuple(wave for wave in waves if wave.steps or wave.reasons)}
    )


def data_at_risk(plan: Plan, touched: Collection[str]) -> list[str]:
    """What the way back of these deployments may take of what stateful services keep, in words, a line a one-way door.

    What the release made instead of what it replaced goes with it, and whatever was written there since.
    """
    cells: dict[tuple[str, str], list[str]] = {}
    for step in plan.steps:
        if step.one_way and step.deployment in touched and step.previous not in (None, step.release):
            cells.setdefault((step.service, step.one_way), []).append(step.cell)
    return [
        f"takes data of {service} away in {', '.join(sorted(where))}, as its one-way door allows: {why}"
        for (service, why), where in sorted(cells.items())
    ]


def _plan_wave(
    wave: Wave,
    cells: Sequence[Cell],
    fleet: Fleet,
    strategy: Strategy,
    *,
    number: int,
    release: Release,
    running: Mapping[str, str | None],
) -> PlannedWave:
    graph = _graph_of(cells, fleet)
    place = {
        f"{cell.name}.{service.name}": (at, index)
        for at, cell in enumerate(cells)
        for index, service in enumerate(fleet.services)
    }
    steps = []
    for stack in graph.order(place.__getitem__):
        cell, name = stack.split(".")
        service = fleet.service(cell, name)
        steps.append(
            Step(
                cell=cell,
                service=name,
                after=graph.before(stack),
                release=release.digest,
                previous=running.get(stack),
                stateful=service.stateful,
                one_way=service.one_way or "",
            )
        )
    concurrency, note = _concurrency(wave, cells, fleet, strategy)
    return PlannedWave(
        number=number,
        name=wave.name,
        steps=tuple(steps),
        concurrency=concurrency,
        bake=wave.bake or strategy.bake,
        approve=wave.approve,
        reasons={cell.name: _reason(cell, wave, cells, fleet) for cell in cells},
        note=note,
    )


def _graph_of(cells: Sequence[Cell], fleet: Fleet) -> Graph:
    """The wave's deployments: `needs` inside each cell, and one whole cell of a failover pair after the
    other.
    """
    services = Graph(
        (s.name for s in fleet.services), ((need, s.name) for s in fleet.services for need in s.needs)
    )
    services.refuse_cycle()
    names = [s.name for s in fleet.services]
    first, last = services.firsts(names), services.lasts(names)
    inside = ((f"{c.name}.{a}", f"{c.name}.{b}") for c in cells for a, b in services.edges)
    between = (
        (f"{partner.name}.{a}", f"{cell.name}.{b}")
        for cell in cells
        if (partner := _partner_before(cell, cells))
        for a in last
        for b in first
    )
    return Graph((f"{c.name}.{name}" for c in cells for name in names), (*inside, *between))


def _partner_before(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """The cell's failover partner, when it is changed in the same wave and before it (`cells` are in order)."""
    earlier = cells[: cells.index(cell)]
    return next((other for other in earlier if other.name == cell.failover), None)


def _concurrency(wave: Wave, cells: Sequence[Cell], fleet: Fleet, strategy: Strategy) -> tuple[int, str]:
    """How many cells may be in flight at once, and why it is fewer than asked for ("" when it is not)."""
    asked = min(wave.concurrency or strategy.concurrency, len(cells))
    weights = sorted((cell.weight for cell in cells), reverse=True)
    total = _weight(fleet.cells)
    fitting = asked
    while sum(weights[:fitting]) / total > strategy.budget + _ROUNDING:
        fitting -= 1
    if fitting == asked:
        return asked, ""
    share = sum(weights[:asked]) / total
    return (
        fitting,
        f"{asked} could carry {share:.0%} of the traffic, over the budget of {strategy.budget:.0%}",
    )


def _reason(cell: Cell, wave: Wave, cells: Sequence[Cell], fleet: Fleet) -> str:
    """Why a cell stands where it stands, in words."""
    region = fleet.region_of(cell.name)
    labels = ", ".join(f"{key}={value}" for key, value in wave.labels.items())
    chosen = [f"region {region.name}"] if region and wave.regions else []
    chosen += [f"label {labels}"] if labels else []
    parts = ["named by the wave" if cell.name in wave.cells else f"selected by {' and '.join(chosen)}"]
    parts.append(f"{cell.weight / _weight(fleet.cells):.0%} of the traffic")
    if partner := _partner_before(cell, cells):
        parts.append(f"after {partner.name}, its failover partner")
    elif any(other.name == cell.failover for other in cells):
        parts.append(f"before {cell.failover}, its failover partner")
    return "; ".join(parts)


def _weight(cells: Iterable[Cell]) -> float:
    return sum(cell.weight for cell in cells)


def _back_wave(wave: PlannedWave, rank: Mapping[str, int], concurrency: int) -> PlannedWave:
    steps = {step.deployment: step for step in wave.steps if step.deployment in rank}
    left = [name for name, s in steps.items() if s.previous is None and s.stateful]
    kept = {name: s for name, s in steps.items() if s.previous != s.release and name not in left}
    forward = Graph(
        (s.deployment for s in wave.steps), ((a, s.deployment) for s in wave.steps for a in s.after)
    )
    graph = forward.only(kept).reversed()
    order = graph.order(lambda name: -rank[name])
    back = [_back_step(kept[name], graph.before(name)) for name in order]
    cells = dict.fromkeys(step.cell for step in reversed(steps.values()))
    reasons = {cell: _back_reason(cell, kept, left) for cell in cells}
    return PlannedWave(
        number=wave.number,
        name=wave.name,
        steps=tuple(back),
        concurrency=max(1, min(concurrency, len({step.cell for step in back}))),
        bake=Bake(),
        reasons={cell: reason for cell, reason in reasons.items() if reason},
    )


def _back_step(step: Step, after: tuple[str, ...]) -> Step:
    """The step that undoes a step: the release before it, or nothing where there was none."""
    return step.model_copy(
        update={
            "after": after,
            "release": step.previous or step.release,
            "previous": step.release,
            "one_way": "",
            "removes": step.previous is None,
        }
    )


def _back_reason(cell: str, kept: Mapping[str, Step], left: Sequence[str]) -> str:
    parts = ["touched by the rollout"] if any(step.cell == cell for step in kept.values()) else []
    alone = [name for name in left if name.split(".")[0] == cell]
    parts += [f"{', '.join(alone)} keeps its data: no release ran there before"] if alone else []
    return "; ".join(parts)
