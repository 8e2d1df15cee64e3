"""The tolerance is one budget of harm over the whole rollout, and the end says what came of it."""

from __future__ import annotations

import pytest

from cellwave.errors import Fault
from cellwave.health.model import GateResult, Verdict
from cellwave.rollout.model import Check, Deploy
from cellwave.waves.model import Bake
from tests.rollout.driven import World, gate
from tests.rollout.plans import plan

BAKE = Bake(seconds=4, samples=1, limit=8)
APART: dict[str, tuple[str, ...]] = {"s": (), "t": ()}


def good(*cells: str) -> list[GateResult]:
    """A passing gate in each cell."""
    return [gate(cell, Verdict.PASS) for cell in cells]


def test_within_the_tolerance_a_failed_cell_is_let_pass_at_lower_concurrency() -> None:
    """After a failure, at most one more cell than the tolerance is in flight."""
    world = World(plan([["a", "b", "c", "d", "e"]], concurrency=4, tolerance=1))
    world.passed_check()
    deploys = world.deploys()
    assert len(deploys) == 4
    world.end(deploys[0], ok=False)
    for deploy in deploys[1:]:
        world.end(deploy)
        assert len({step.cell for step in world.state.forward.running}) <= 3
    while deploys := world.deploys():
        assert len({d.step.cell for d in deploys}) <= 2
        for deploy in deploys:
            world.end(deploy)
    assert world.outcome == (
        "done",
        "v2 runs in 4 of 5 cells, not in a (storage failed: AccessDenied: no)",
    )


def test_failed_deployments_and_failing_gates_draw_on_one_budget() -> None:
    """One cell that failed to deploy and another one whose gate is red are two harmed cells."""
    world = World(plan([["a", "b"], ["c", "d"]], tolerance=1, bake=BAKE))
    world.passed_check()
    world.run_all({"a.storage"})
    world.observe(*good("b"), after=9)
    world.passed_check()
    world.run_all()
    world.observe(gate("c", Verdict.FAIL), *good("d"))
    assert world.state.head.condemned


def test_red_gates_of_three_waves_are_three_harmed_cells() -> None:
    """Waves [[a, b], [c, d], [e, f]], gates of a, c and e red, one tolerated: it ends at c, and never says "done"."""
    world = World(plan([["a", "b"], ["c", "d"], ["e", "f"]], tolerance=1, bake=BAKE))
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.FAIL), *good("b"), after=9)
    assert set(world.state.head.harmed) == {"a"}
    world.passed_check()
    world.run_all()
    world.observe(gate("c", Verdict.FAIL), *good("d"))
    assert world.state.head.condemned
    assert "c.query errors" in world.state.head.condemned
    assert world.state.forward.current.name == "w2"


def test_a_cell_draws_on_the_budget_once() -> None:
    """A cell whose deployment failed, and in which a gate is red as well, is one harmed cell."""
    world = World(plan([["a", "b"]], tolerance=1, bake=BAKE))
    world.passed_check()
    world.run_all({"a.query"})
    world.observe(gate("a", Verdict.FAIL, "ingest"), *good("b"), after=9)
    assert world.outcome[0] == "done"
    assert world.state.head.harmed == {"a": "a.query failed: AccessDenied: no"}, "as it first was"


def test_done_names_the_cells_that_run_the_release_though_a_gate_fails_there() -> None:
    """They count as running it, and whoever reads the end knows of them."""
    world = World(plan([["a", "b"], ["c", "d"], ["e", "f"]], tolerance=3, bake=BAKE))
    for first, second in ("ab", "cd", "ef"):
        world.passed_check()
        world.run_all()
        world.observe(gate(first, Verdict.FAIL), *good(second), after=9)
    outcome, why = world.outcome
    assert outcome == "done"
    assert why.startswith("v2 runs in 6 cells; let pass: ")
    assert all(f"{cell} (query errors: 5 of 40)" in why for cell in "ace")


def test_a_red_gate_of_a_cell_that_the_plan_does_not_have_is_told_too() -> None:
    """It draws on the budget as any other, and the rollout comes to its end."""
    world = World(plan([["a"]], tolerance=1, bake=BAKE))
    world.passed_check()
    world.run_all()
    world.observe(gate("elsewhere", Verdict.FAIL), *good("a"), after=9)
    assert world.outcome == ("done", "v2 runs in 1 cell; let pass: elsewhere (query errors: 5 of 40)")


def test_a_cell_that_never_started_is_none_that_speaks_for_the_release() -> None:
    """a failed, b waits for it, c's gate is red: whatever else was read, no cell is left in which all is well."""
    world = World(plan([["a", "b", "c"]], tolerance=3, pairs=[("a", "b")], bake=BAKE))
    world.passed_check()
    world.run_all({"a.query"})
    world.observe(*good("c"), after=3.5)
    world.observe(gate("c", Verdict.FAIL), *good("elsewhere"), after=9)
    assert world.state.head.condemned == world.texts["rolling_back"] == "c.query errors: 5 of 40"
    assert "passed" not in world.log


def test_of_several_red_gates_of_a_cell_the_first_in_order_says_why() -> None:
    """In whatever order they were read."""
    world = World(plan([["a", "b"]], tolerance=1, bake=BAKE))
    world.passed_check()
    world.run_all()
    reds = [gate("a", Verdict.FAIL, service) for service in ("query", "ingest", "storage")]
    world.observe(*reds, *good("b"))
    assert world.state.head.harmed == {"a": "ingest errors: 5 of 40"}


def test_a_harmed_cell_that_recovers_stays_harmed() -> None:
    """What was red once has drawn on the budget, in whatever look it was."""
    world = World(plan([["a", "b", "c"]], concurrency=3, tolerance=1, bake=BAKE))
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.FAIL), *good("b", "c"), after=1)
    assert not world.state.head.condemned
    world.observe(gate("b", Verdict.FAIL), *good("a", "c"), after=1)
    assert world.state.head.condemned


@pytest.mark.parametrize(
    "red",
    [[gate("a", Verdict.FAIL).model_copy(update={"critical": True})], [gate(c, Verdict.FAIL) for c in "ab"]],
)
def test_a_critical_gate_and_the_same_gate_in_two_cells_are_no_cells_fault(red: list[GateResult]) -> None:
    """Whatever is tolerated: the release goes back at once."""
    world = World(plan([["a", "b", "c"]], concurrency=3, tolerance=3, bake=BAKE))
    world.passed_check()
    world.run_all()
    world.observe(*red, after=1)
    assert world.state.back is not None


@pytest.mark.parametrize("later", [[], [["b"]]])
def test_a_lone_canary_that_fails_to_deploy_has_no_tolerance(later: list[list[str]]) -> None:
    """A wave of one cell, one tolerated: nothing says that it was the cell. The next wave never starts."""
    world = World(plan([["a"], *later], tolerance=1, bake=BAKE))
    world.passed_check()
    world.run_all({"a.storage"})
    assert world.state.outcome == "rolled_back"
    assert not world.take(Check)
    assert "passed" not in world.log


def test_a_lone_canary_is_never_asked_past() -> None:
    """Waves [[b], [c]], one tolerated, the second wants approval, b fails: it goes back, and nobody is asked."""
    world = World(plan([["b"], ["c"]], tolerance=1, approve=[2]))
    world.passed_check()
    world.run_all({"b.storage"})
    assert world.state.outcome == "rolled_back"
    assert "approval_wanted" not in world.log


def test_after_a_tolerated_failure_a_wave_can_be_approved() -> None:
    """Waves [[a, b], [c]], b fails within the tolerance: the second wave's approval is taken, and c is deployed."""
    world = World(plan([["a", "b"], ["c"]], tolerance=1, approve=[2]))
    world.passed_check()
    world.run_all({"b.storage"})
    assert world.state.status == "waiting"
    assert world.order("approve") == "taken"
    world.passed_check()
    world.run_all()
    assert world.outcome == ("done", "v2 runs in 2 of 3 cells, not in b (storage failed: AccessDenied: no)")


@pytest.mark.parametrize("first", ["deployment", "gate"])
def test_a_wave_all_of_whose_cells_are_harmed_goes_back(first: str) -> None:
    """Two of two, five tolerated: no cell is left that says it is not the release."""
    world = World(plan([["a", "b"], ["c"]], tolerance=5, bake=BAKE))
    world.passed_check()
    if first == "deployment":
        world.run_all({"a.storage", "b.query"})
    else:
        world.run_all({"a.storage"})
        world.observe(gate("b", Verdict.FAIL))
    assert world.state.head.condemned
    assert world.state.forward.current.name == "w1"


def test_an_inconclusive_bake_that_is_resumed_leaves_the_tolerated_failure_as_it_is() -> None:
    """Wave [a, b]: a fails, b converges, the bake is inconclusive at its limit, `resume`, good readings: v2 runs in one
    of two cells, and a is named."""
    world = World(plan([["a", "b"]], tolerance=1, bake=BAKE))
    world.passed_check()
    world.run_all({"a.storage"})
    world.observe(gate("b", Verdict.INCONCLUSIVE), after=10)
    assert world.state.status == "waiting"
    world.order("resume")
    assert not world.deploys(), "what failed for the release's sake is not tried again"
    world.observe(*good("b"), after=10)
    assert world.outcome == ("done", "v2 runs in 1 of 2 cells, not in a (storage failed: AccessDenied: no)")


def test_what_waits_for_a_failed_partner_is_named() -> None:
    """Pair a-b in one wave with c: a fails, so b never starts, and the end names both."""
    world = World(plan([["a", "b", "c"]], tolerance=1, pairs=[("a", "b")]))
    world.passed_check()
    world.run_all({"a.query"})
    outcome, why = world.outcome
    assert outcome == "done"
    assert why == (
        "v2 runs in 1 of 3 cells, not in a (query failed: AccessDenied: no), "
        "b (storage waits for a.query, which failed)"
    )


def test_a_wave_that_reaches_no_cell_is_not_passed() -> None:
    """Pair a-b alone in a wave, one tolerated: a fails, b never starts. Nothing runs the release: it goes back, and
    both are named."""
    world = World(plan([["a", "b"], ["c"]], tolerance=1, pairs=[("a", "b")]))
    world.passed_check()
    world.run_all({"a.storage"})
    outcome, why = world.outcome
    assert outcome == "rolled_back"
    assert (
        "no cell of wave w1 runs v2: a (storage failed: AccessDenied: no), b (storage waits for a.storage"
        in why
    )


def test_resume_after_a_transient_failure_keeps_the_concurrency() -> None:
    """Wave [d, e], concurrency 1, one tolerated: d.s failed, d.t converged, e.s transient, e.t converged, `resume`: e.s
    alone is tried again, and never two cells at once."""
    world = World(plan([["d", "e"]], concurrency=1, tolerance=1, retries=0, services=APART))
    world.passed_check()
    faults: tuple[Fault, ...] = ("release", "network")
    for fault in faults:
        for deploy in world.deploys():
            world.end(deploy, ok=deploy.step.service == "t", fault=fault)
    assert world.state.head.waiting
    assert world.state.head.waiting.kind == "failed"
    world.order("resume")
    assert [d.step.deployment for d in world.take(Deploy)] == ["e.s"]


def test_cells_that_failed_transiently_are_resumed_as_many_at_once_as_may_be() -> None:
    """Four at once, one fails for good, so two may be in flight: three that are tried again go two at a time."""
    world = World(plan([["a", "b", "c", "d", "e"]], concurrency=4, tolerance=1, retries=0, services=APART))
    world.passed_check()
    deploys = world.deploys()
    for deploy in deploys:
        one, s = deploy.step.cell == "a", deploy.step.service == "s"
        world.end(deploy, ok=not s, fault="release" if one else "network")
    world.order("resume")
    again = world.deploys()
    assert [d.step.deployment for d in again] == ["b.s", "c.s"]
    world.end(again[0])
    assert [d.step.deployment for d in world.deploys()] == ["d.s"]
