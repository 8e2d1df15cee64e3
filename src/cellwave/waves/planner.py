"""Fleet, strategy and release -> Plan, and a plan's way back. Pure: equal input gives an equal plan.

What holds for every plan: each cell stands in one wave; inside a cell services follow `needs`; the two cells of a
failover pair are never in flight together, because every first step of the second comes after all last steps of the
first, and on the way back because the plan names them partners; and no `concurrency` cells of a wave together carry
more of the fleet's weight than the budget.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from cellwave.errors import BadInput
from cellwave.fleet.model import Cell, Fleet, Service
from cellwave.fleet.select import cells_named, select
from cellwave.release import Release
from cellwave.waves.graph import Graph
from cellwave.waves.model import Bake, Plan, PlannedWave, Step, Strategy, Wave

_ROUNDING = 1e-9


class Inputs(NamedTuple):
    """What a stack is to be made of (the digest of that), what it was made of ("": not known), and why it is kept as it
    is ("": it is not)."""

    now: str = ""
    before: str = ""
    kept: str = ""


def make_plan(
    fleet: Fleet,
    strategy: Strategy,
    release: Release,
    running: Mapping[str, str | None],
    cells: Collection[str] | None = None,
    *,
    unproven: Mapping[str, str] = {},
    inputs: Mapping[str, Inputs] = {},
) -> Plan:
    """The waves that bring the release to the fleet, or to these `cells` only (waves without any are left
    out).

    `running` maps a stack to the release (its digest) that a way back goes to (missing or None: nothing ran there);
    `unproven` says of stacks that have something, but no such release, what that is; `inputs` what a stack is and was
    made of, as far as that is known. A wave keeps its number in the strategy. BadInput: an unknown cell, none at all,
    or one heavier than the whole budget.
    """
    if problem := over_budget(fleet, strategy.budget):
        raise BadInput("waves.yaml: budget", *problem)
    wanted = {cell.name for cell in (fleet.cells if cells is None else cells_named(fleet, cells, "cells"))}
    stacks = _Stacks(release.digest, running, unproven, inputs)
    waves = []
    for number, wave in enumerate(strategy.waves, 1):
        chosen = select(fleet, cells=wave.cells, regions=wave.regions, labels=wave.labels)
        if members := sorted((c for c in chosen if c.name in wanted), key=lambda c: (c.weight, c.name)):
            waves.append(_plan_wave(wave, members, fleet, strategy, number=number, stacks=stacks))
    if not waves:
        raise BadInput("cells", "none is named", "one of the fleet's cells at least")
    return Plan(
        release=stacks.release,
        version=release.version,
        tolerance=strategy.tolerance,
        retries=strategy.retries,
        rollback_concurrency=strategy.rollback_concurrency,
        notify=strategy.notify,
        partners={c.name: c.failover for c in fleet.cells if c.failover and c.name in wanted},
        waves=tuple(waves),
    )


def plan_cell(
    fleet: Fleet,
    release: Release,
    cell: str,
    running: Mapping[str, str | None],
    *,
    unproven: Mapping[str, str] = {},
    inputs: Mapping[str, Inputs] = {},
) -> Plan:
    """The plan that brings the release to one cell at a person's word, its services in the order of their needs; the
    control plane's cell is one too. `running`, `unproven` and `inputs` as in `make_plan`. StopIteration: an unknown
    cell."""
    services = {service.name: service for service in fleet.services_of(cell)}
    stacks, graph = _Stacks(release.digest, running, unproven, inputs), _graph_of([*services.values()])
    order = graph.order([*services].index)
    steps = tuple(
        stacks.step(cell, services[name], (f"{cell}.{need}" for need in graph.before(name))) for name in order
    )
    wave = PlannedWave(number=1, name=cell, steps=steps, concurrency=1, bake=Bake())
    return Plan(
        release=stacks.release,
        version=release.version,
        by_hand=True,
        partners={c.name: c.failover for c in fleet.every_cell if c.failover and c.name == cell},
        waves=(wave,),
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

    One wave: each cell goes back by itself, its services in reverse order, and nothing bakes. Partners go one after the
    other, but neither waits for the other's success: a cell that is stuck holds up no other. What ran another release
    before goes back to it; what ran none is taken away, unless it is stateful (that keeps its data) or something stands
    there that nobody proved: a reason of its cell says so. KeyError: a deployment that the plan does not have.
    """
    steps = {step.deployment: step for step in plan.steps}
    chosen = [steps[name] for name in dict.fromkeys(touched)]
    kept: dict[str, list[Step]] = {}  # by cell; what was touched last stands first
    for step in reversed(chosen):
        if step.previous != step.release and not stays(step):
            kept.setdefault(step.cell, []).append(step)
    left: dict[str, list[Step]] = {}
    for step in chosen:
        if stays(step):
            left.setdefault(step.cell, []).append(step)
    cells = dict.fromkeys(step.cell for step in reversed(chosen))
    inside: dict[str, list[Step]] = {cell: [] for cell in kept}
    for step in plan.steps:
        if step.cell in kept:
            inside[step.cell].append(step)
    back = [step for cell in kept for step in _back_steps(inside[cell], kept[cell])]
    reasons = {cell: _back_reason(cell in kept, left.get(cell, [])) for cell in cells}
    wave = PlannedWave(
        number=1,
        name="back",
        steps=tuple(back),
        concurrency=max(1, min(plan.rollback_concurrency, len(kept))),
        bake=Bake(),
        reasons={cell: reason for cell, reason in reasons.items() if reason},
    )
    return plan.model_copy(update={"direction": "back", "waves": (wave,), "partners": _partners(plan)})


def stays(step: Step) -> bool:
    """Whether there is no way back from a step, though nothing proven ran before it: data, or what nobody proved."""
    return step.previous is None and (step.stateful or bool(step.unproven))


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


class _Stacks(NamedTuple):
    """The digest of the release that they get, and what is known of each, as in `make_plan`."""

    release: str
    running: Mapping[str, str | None]
    unproven: Mapping[str, str]
    inputs: Mapping[str, Inputs]

    def step(self, cell: str, service: Service, after: Iterable[str]) -> Step:
        """The step that brings it to one of them."""
        stack = f"{cell}.{service.name}"
        made = self.inputs.get(stack, Inputs())
        return Step(
            cell=cell,
            service=service.name,
            after=tuple(sorted(after)),
            release=self.release,
            previous=None if stack in self.unproven else self.running.get(stack),
            unproven=self.unproven.get(stack, ""),
            stateful=service.stateful,
            one_way=service.one_way or "",
            inputs=made.now,
            before=made.before,
            kept=made.kept,
        )


def _plan_wave(
    wave: Wave, cells: Sequence[Cell], fleet: Fleet, strategy: Strategy, *, number: int, stacks: _Stacks
) -> PlannedWave:
    concurrency, note = _concurrency(wave, cells, fleet, strategy)
    return PlannedWave(
        number=number,
        name=wave.name,
        steps=tuple(_steps(cells, fleet, stacks)),
        concurrency=concurrency,
        bake=wave.bake or strategy.bake,
        approve=wave.approve,
        reasons=_reasons(wave, cells, fleet),
        note=note,
    )


def _steps(cells: Sequence[Cell], fleet: Fleet, stacks: _Stacks) -> Iterator[Step]:
    """The wave's deployments, cell by cell: `needs` inside each cell, and one whole cell of a failover pair after the
    other. No cell waits for one behind it, so this order respects `after`.
    """
    services, graph = {service.name: service for service in fleet.services}, _graph_of(fleet.services)
    order, first, last = graph.order([*services].index), graph.firsts(services), graph.lasts(services)
    partners = _partners_before(cells)
    for cell in cells:
        ends = [f"{partners[cell.name]}.{name}" for name in last] if cell.name in partners else []
        for name in order:
            needs = [f"{cell.name}.{need}" for need in graph.before(name)]
            yield stacks.step(cell.name, services[name], needs + ends if name in first else needs)


def _graph_of(services: Sequence[Service]) -> Graph:
    """A cell's services, by what they need."""
    return Graph((s.name for s in services), ((need, s.name) for s in services for need in s.needs))


def _partners_before(cells: Sequence[Cell]) -> dict[str, str]:
    """Cells whose failover partner is changed in the same wave and before them (`cells` are in order), and it."""
    place = {cell.name: at for at, cell in enumerate(cells)}
    return {c.name: c.failover for c in cells if c.failover in place and place[c.failover] < place[c.name]}


def _concurrency(wave: Wave, cells: Sequence[Cell], fleet: Fleet, strategy: Strategy) -> tuple[int, str]:
    """How many cells may be in flight at once, and why it is fewer than asked for ("" when it is not)."""
    asked = min(wave.concurrency or strategy.concurrency, len(cells))
    heaviest = sorted((cell.weight for cell in cells), reverse=True)
    carried = list(accumulate(heaviest[:asked]))  # by the one heaviest cell, by two, …
    total = _weight(fleet.cells)
    fitting = asked
    while carried[fitting - 1] / total > strategy.budget + _ROUNDING:
        fitting -= 1
    if fitting == asked:
        return asked, ""
    share = carried[-1] / total
    return (
        fitting,
        f"{asked} could carry {share:.0%} of the traffic, over the budget of {strategy.budget:.0%}",
    )


def _reasons(wave: Wave, cells: Sequence[Cell], fleet: Fleet) -> dict[str, str]:
    """Why each cell stands where it stands, in words."""
    regions = {cell.name: region.name for region in fleet.regions for cell in region.cells}
    labels = ", ".join(f"{key}={value}" for key, value in wave.labels.items())
    total, before = _weight(fleet.cells), _partners_before(cells)
    after = {partner: cell for cell, partner in before.items()}
    reasons = {}
    for cell in cells:
        chosen = [f"region {regions[cell.name]}"] if cell.name in regions and wave.regions else []
        chosen += [f"label {labels}"] if labels else []
        parts = ["named by the wave" if cell.name in wave.cells else f"selected by {' and '.join(chosen)}"]
        parts.append(f"{cell.weight / total:.0%} of the traffic")
        if cell.name in before:
            parts.append(f"after {before[cell.name]}, its failover partner")
        elif cell.name in after:
            parts.append(f"before {after[cell.name]}, its failover partner")
        reasons[cell.name] = "; ".join(parts)
    return reasons


def _weight(cells: Iterable[Cell]) -> float:
    return sum(cell.weight for cell in cells)


def _partners(plan: Plan) -> dict[str, str]:
    """The plan's failover pairs. A plan of an earlier version says only which cell of a wave waits for which."""
    waits = ((name.split(".")[0], step.cell) for step in plan.steps for name in step.after)
    return plan.partners or {first: second for first, second in waits if first != second}


def _back_steps(cell: Sequence[Step], kept: Sequence[Step]) -> list[Step]:
    """The steps that undo these ones of a cell, in order; `kept` has first what was touched last."""
    by_service = {step.service: step for step in kept}
    after = tuple(
        (step.service, tuple(need.split(".")[1] for need in step.after if need.split(".")[0] == step.cell))
        for step in cell
    )
    return [
        _back_step(by_service[service], tuple(f"{cell[0].cell}.{need}" for need in needs))
        for service, needs in _reversed_order(after, tuple(by_service))
    ]


@lru_cache(maxsize=256)  # most cells of a fleet are alike
def _reversed_order(
    after: tuple[tuple[str, tuple[str, ...]], ...], kept: tuple[str, ...]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Services in reverse, and what each waits for then. Of those that could be next, the first of `kept` is."""
    forward = Graph((service for service, _ in after), ((a, b) for b, needs in after for a in needs))
    graph = forward.only(kept).reversed()
    return tuple((service, graph.before(service)) for service in graph.order(kept.index))


def _back_step(step: Step, after: tuple[str, ...]) -> Step:
    """The step that undoes a step: the release before it, or nothing where there was none."""
    return step.model_copy(
        update={
            "after": after,
            "release": step.previous or step.release,
            "previous": step.release,
            "one_way": "",
            "removes": step.previous is None,
            "inputs": step.before,
            "before": step.inputs,
            "kept": "",
        }
    )


def _back_reason(goes: bool, left: Sequence[Step]) -> str:
    parts = ["touched by the rollout"] if goes else []
    data = [step.deployment for step in left if not step.unproven]
    parts += [f"{', '.join(data)} keeps its data: no release ran there before"] if data else []
    parts += [f"{step.deployment} stays: {step.unproven}" for step in left if step.unproven]
    return "; ".join(parts)
