"""What holds for every fleet, every strategy and every executor that keeps to the plan's rules."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cellwave.fleet.model import Cell, Fleet, Region, Service
from cellwave.release import Release
from cellwave.waves.model import Bake, Plan, PlannedWave, Strategy, Wave
from cellwave.waves.planner import make_plan, make_rollback

RELEASE = Release(version="v2", files={"a": "1"}, code={})
OLD = "0" * 64


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """A fleet of 1 to 7 cells, some of them failover pairs, with 1 to 4 services that need earlier ones."""
    count = draw(st.integers(1, 7))
    names = [f"c{n}" for n in range(count)]
    shuffled = draw(st.permutations(names))
    pairs = draw(st.integers(0, count // 2))
    partner: dict[str, str] = {}
    for a, b in zip(shuffled[:pairs], shuffled[pairs : 2 * pairs], strict=True):
        partner |= {a: b, b: a}
    cells = tuple(
        Cell(
            name=name,
            account=f"{n:012}",
            aws_region="us-east-1",
            weight=draw(st.integers(1, 40)),
            failover=partner.get(name),
            labels={"ring": draw(st.sampled_from(["a", "b"]))},
        )
        for n, name in enumerate(names)
    )
    services: list[Service] = []
    for n in range(draw(st.integers(1, 4))):
        needs = draw(st.sets(st.sampled_from([s.name for s in services]))) if services else set()
        services.append(Service(name=f"s{n}", program=".", needs=tuple(sorted(needs))))
    cut = draw(st.integers(0, count - 1))
    regions = [
        Region(name=f"r{n}", endpoint=f"r{n}.example", residency="here", cells=part)
        for n, part in enumerate((cells[:cut], cells[cut:]))
        if part
    ]
    return Fleet(services=tuple(draw(st.permutations(services))), regions=tuple(regions))


@st.composite
def strategies(draw: st.DrawFn, fleet: Fleet) -> Strategy:
    """A strategy with every cell of the fleet in one wave, and a budget that the heaviest cell fits into."""
    waves: dict[int, list[str]] = {}
    for cell in fleet.cells:
        waves.setdefault(draw(st.integers(0, 3)), []).append(cell.name)
    heaviest = max(cell.weight for cell in fleet.cells) / sum(cell.weight for cell in fleet.cells)
    return Strategy(
        concurrency=draw(st.integers(1, 5)),
        bake=Bake(seconds=1),
        budget=draw(st.floats(heaviest, 1)),
        waves=tuple(
            Wave(name=f"w{n}", cells=tuple(cells), concurrency=draw(st.one_of(st.none(), st.integers(1, 5))))
            for n, cells in sorted(waves.items())
        ),
    )


class Executor:
    """Runs a plan by its own rules only: `after`, and at most `concurrency` cells begun and not finished.

    Which of the steps that may start does, and which of those that run ends next, is chosen at random. `watch` is
    called with the cells in flight whenever that changes.
    """

    def __init__(self, plan: Plan, random: Random, watch: Callable[[PlannedWave, set[str]], None]) -> None:
        self._plan = plan
        self._random = random
        self._watch = watch
        self.started: list[str] = []
        self.finished: list[str] = []

    def run(self, stop_after: int | None = None) -> None:
        """Run to the end, or until so many steps have started; what runs then is finished."""
        for wave in self._plan.waves:
            while self._start(wave, stop_after) or self._finish():
                pass
            if stop_after is not None and len(self.started) >= stop_after:
                return

    def _start(self, wave: PlannedWave, stop_after: int | None) -> bool:
        if stop_after is not None and len(self.started) >= stop_after:
            return False
        flying = self._in_flight(wave)
        ready = [
            step
            for step in wave.steps
            if step.deployment not in self.started
            and all(name in self.finished for name in step.after)
            and (step.cell in flying or len(flying) < wave.concurrency)
        ]
        # Sometimes an executor lets a step end first, though it could start another.
        if not ready or (self._running() and self._random.random() < 0.5):
            return False
        step = self._random.choice(ready)
        self.started.append(step.deployment)
        self._watch(wave, self._in_flight(wave))
        return True

    def _finish(self) -> bool:
        running = self._running()
        if running:
            self.finished.append(self._random.choice(running))
        return bool(running)

    def _running(self) -> list[str]:
        return [name for name in self.started if name not in self.finished]

    def _in_flight(self, wave: PlannedWave) -> set[str]:
        begun = {step.cell for step in wave.steps if step.deployment in self.started}
        done = {
            cell
            for cell in begun
            if all(step.deployment in self.finished for step in wave.steps if step.cell == cell)
        }
        return begun - done


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Fleet, Strategy, Plan]:
    """A fleet, a strategy, and the plan of a release; some stacks run an old release, some this one, some none."""
    fleet = draw(fleets())
    strategy = draw(strategies(fleet))
    running = {stack: draw(st.sampled_from([OLD, OLD, None, RELEASE.digest])) for stack in fleet.stacks}
    return fleet, strategy, make_plan(fleet, strategy, RELEASE, running)


def paired(fleet: Fleet, cells: set[str]) -> bool:
    """Whether a failover pair is among these cells."""
    return any(fleet.cell(a).failover == b for a, b in combinations(cells, 2))


@given(worlds())
def test_every_deployment_stands_in_the_plan_exactly_once(world: tuple[Fleet, Strategy, Plan]) -> None:
    """No cell and no service is forgotten or changed twice."""
    fleet, _, plan = world
    assert sorted(step.deployment for step in plan.steps) == sorted(fleet.stacks)
    assert sum(len(wave.cells) for wave in plan.waves) == len(fleet.cells)


@given(worlds())
def test_steps_are_written_in_an_order_that_works(world: tuple[Fleet, Strategy, Plan]) -> None:
    """Doing the steps one by one, as they stand, is always right; what a service needs is before it in its cell."""
    fleet, _, plan = world
    for wave in plan.waves:
        done: set[str] = set()
        for step in wave.steps:
            assert done.issuperset(step.after)
            needs = fleet.service(step.cell, step.service).needs
            assert done.issuperset(f"{step.cell}.{need}" for need in needs)
            done.add(step.deployment)


@given(worlds())
def test_lighter_cells_go_first(world: tuple[Fleet, Strategy, Plan]) -> None:
    """Within a wave, the order of cells is that of weight, then of name."""
    fleet, _, plan = world
    for wave in plan.waves:
        assert list(wave.cells) == sorted(wave.cells, key=lambda name: (fleet.cell(name).weight, name))


@given(worlds())
def test_planning_is_deterministic(world: tuple[Fleet, Strategy, Plan]) -> None:
    """Equal input gives an equal plan; and a plan read back from JSON is the same plan."""
    fleet, strategy, plan = world
    running = {step.deployment: step.previous for step in plan.steps}
    assert make_plan(fleet, strategy, RELEASE, running).to_json() == plan.to_json()
    assert Plan.model_validate_json(plan.to_json()) == plan


@given(worlds(), st.randoms(use_true_random=False))
def test_no_executor_puts_a_pair_or_too_much_traffic_in_flight(
    world: tuple[Fleet, Strategy, Plan], random: Random
) -> None:
    """Whatever is started first: never both of a failover pair, never more weight than the budget; all is done."""
    fleet, strategy, plan = world
    total = sum(cell.weight for cell in fleet.cells)

    def watch(wave: PlannedWave, flying: set[str]) -> None:
        assert not paired(fleet, flying)
        assert sum(fleet.cell(name).weight for name in flying) <= strategy.budget * total + 1e-6
        assert len(flying) <= wave.concurrency <= max(1, len(wave.cells))

    executor = Executor(plan, random, watch)
    executor.run()
    assert sorted(executor.finished) == sorted(fleet.stacks)


@given(worlds(), st.randoms(use_true_random=False), st.integers(0, 30))
def test_the_way_back_is_the_exact_reverse_of_what_was_touched(
    world: tuple[Fleet, Strategy, Plan], random: Random, stop_after: int
) -> None:
    """Stopped anywhere, the way back restores every touched deployment that had another release, takes away every
    one that had none and keeps no data, and touches no other.

    What had to come before in its cell on the way forward comes after on the way back, in whatever order steps are
    started; pairs are kept apart by their partners alone.
    """
    fleet, _, plan = world
    forward = Executor(plan, random, lambda wave, flying: None)
    forward.run(stop_after)
    back = make_rollback(plan, forward.started)
    steps = {step.deployment: step for step in plan.steps}
    assert sorted((s.deployment, s.release, s.removes) for s in back.steps) == [
        (name, steps[name].previous or RELEASE.digest, steps[name].previous is None)
        for name in sorted(forward.started)
        if steps[name].previous == OLD or (steps[name].previous is None and not steps[name].stateful)
    ]
    executor = Executor(back, random, lambda wave, flying: None)
    executor.run()
    assert sorted(executor.finished) == sorted(step.deployment for step in back.steps)
    done_at = {name: place for place, name in enumerate(executor.finished)}
    for earlier, later in must_precede(plan):
        if earlier in done_at and later in done_at and earlier.split(".")[0] == later.split(".")[0]:
            assert done_at[later] < done_at[earlier]
    assert back.partners == {c.name: c.failover for c in fleet.cells if c.failover}


def must_precede(plan: Plan) -> set[tuple[str, str]]:
    """Every pair of deployments whose order the plan fixes: by wave, or by `after` over any number of steps."""
    pairs: set[tuple[str, str]] = set()
    before: list[str] = []
    for wave in plan.waves:
        above: dict[str, set[str]] = {}
        for step in wave.steps:
            above[step.deployment] = set(step.after).union(*(above[name] for name in step.after))
            pairs |= {(name, step.deployment) for name in (*above[step.deployment], *before)}
        before += above
    return pairs


@given(worlds(), st.data())
def test_a_plan_of_some_cells_changes_those_alone(
    world: tuple[Fleet, Strategy, Plan], data: st.DataObject
) -> None:
    """The cells asked for stand where they stand in the whole plan; waves without any are left out."""
    fleet, strategy, plan = world
    cells = data.draw(st.sets(st.sampled_from([cell.name for cell in fleet.cells]), min_size=1))
    part = make_plan(fleet, strategy, RELEASE, {}, cells)
    assert set(part.cells) == cells
    assert all(wave.steps for wave in part.waves)
    number = {name: wave.number for wave in plan.waves for name in wave.cells}
    assert all(number[name] == wave.number for wave in part.waves for name in wave.cells)
