"""The way back: what goes, in which order, and what it waits for."""

from __future__ import annotations

import pytest

from cellwave.health.model import Verdict
from cellwave.rollout.decide import BACK_ATTEMPTS
from cellwave.rollout.model import (
    Abort,
    Applied,
    Check,
    Deploy,
    Failure,
    HoldRelease,
    Prove,
    Started,
    State,
    remains,
    reverse_state,
)
from cellwave.waves.model import Bake
from tests.rollout.driven import World, gate
from tests.rollout.plans import NEW, OLD, plan


def test_a_failing_gate_rolls_back_what_was_touched_and_holds_the_release() -> None:
    """Only the touched cells go back, in reverse order, with the release that ran before."""
    world = World(plan([["a"], ["b"]], bake=Bake(seconds=10, samples=1, limit=20)))
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.FAIL))
    assert world.take(HoldRelease) == [HoldRelease(release=NEW, reason=world.state.head.condemned)]
    back = []
    while deploys := world.deploys():
        for deploy in deploys:
            assert deploy.back
            assert deploy.step.release == OLD
            back.append(deploy.step.deployment)
            world.end(deploy)
    assert set(back[:2]) == {"a.ingest", "a.query"}
    assert back[2:] == ["a.storage"]
    assert world.state.outcome == "rolled_back"


def test_a_first_deployment_that_fails_is_taken_away_and_data_stays() -> None:
    """What was made goes, in reverse, but for what a stateful service keeps, which is said."""
    world = World(plan([["a"]], previous=None))
    world.passed_check()
    world.end(world.deploys()[0])
    ingest, query = world.deploys()
    world.end(ingest)
    world.end(query, ok=False)
    removals = world.deploys()
    assert {(d.step.deployment, d.step.removes, d.back) for d in removals} == {
        ("a.ingest", True, True),
        ("a.query", True, True),
    }
    for removal in removals:
        world.end(removal)
    assert world.state.outcome == "rolled_back"
    assert "a.storage stays, with the data" in world.state.head.reason
    assert world.ran == {"a.storage": NEW, "a.ingest": None, "a.query": None}


def test_a_first_release_that_only_made_data_is_over_at_once() -> None:
    """There is nothing to take away; it is said what stays."""
    world = World(plan([["a"]], previous=None))
    world.passed_check()
    world.end(world.deploys()[0], ok=False)
    assert world.state.outcome == "rolled_back"
    assert "a.storage stays" in world.state.head.reason


def test_starting_what_already_runs_and_taking_it_back_changes_and_holds_nothing() -> None:
    """A rollout of the serving release brought nothing that could be to blame."""
    world = World(plan([["a"]], previous=NEW))
    world.passed_check()
    world.end(world.deploys()[0])
    world.order("rollback")
    for deploy in world.deploys():
        world.end(deploy, ok=False)
    assert world.state.outcome == "rolled_back"
    assert not world.take(HoldRelease)
    assert not world.deploys()
    assert world.outcome[1].endswith("it ran there before, and still does")


def test_the_way_back_through_a_one_way_door_is_journaled() -> None:
    """Data goes with it, as the door allows; whoever reads the journal knows whose and why."""
    made = plan([["a"]])
    wave = made.waves[0]
    steps = tuple(
        s.model_copy(update={"one_way": "moves the index"} if s.stateful else {}) for s in wave.steps
    )
    world = World(made.model_copy(update={"waves": (wave.model_copy(update={"steps": steps}),)}))
    world.passed_check()
    world.run_all()
    reverse, _ = reversed_(world.state, world.ran)
    assert reverse.texts["back_started"].endswith(
        "takes data of storage away in a, as its one-way door allows: moves the index"
    )


def test_a_rollback_command_interrupts_running_engines() -> None:
    """On-call's command does not wait for a wave to finish."""
    world = World(plan([["a", "b"]]))
    world.passed_check()
    one, two = world.deploys()
    world.order("rollback")
    assert len(world.take(Abort)) == 2
    world.end(one, ok=False)
    world.end(two, ok=False)
    assert {d.back for d in world.deploys()} == {True}


def test_a_rollout_that_has_touched_nothing_is_over_at_once() -> None:
    """Rolled back before it began: the release is not to blame, and not held."""
    world = World(plan([["a"]], approve=True))
    world.order("rollback")
    assert world.state.outcome == "rolled_back"
    assert not world.take(HoldRelease)


def test_a_rollback_is_never_rolled_back_and_names_what_is_stuck() -> None:
    """A deployment that will not go back is tried a few times, then a person is wanted."""
    world = World(plan([["a"], ["b"]]))
    world.passed_check()
    world.run_all()
    world.order("rollback")
    tried = 0
    while deploys := world.deploys():
        for deploy in deploys:
            bad = deploy.step.deployment == "a.query"
            tried += bad
            world.end(deploy, ok=not bad)
    assert tried == BACK_ATTEMPTS
    assert world.state.outcome == "failed"
    assert "a.query" in world.state.head.reason


def test_what_is_refused_on_the_way_back_is_not_tried_again() -> None:
    """A removal that would take data along, or what was there before, is refused however often it is asked for."""
    world = World(plan([["a"], ["b"]], previous=None))
    world.passed_check()
    world.run_all()
    world.order("rollback")
    tried = []
    while deploys := world.deploys():
        for deploy in deploys:
            tried.append(deploy.step.deployment)
            world.end(deploy, ok=deploy.step.deployment != "a.query", refused=True)
    assert tried.count("a.query") == 1
    assert world.state.outcome == "failed"
    assert "a.query" in world.state.head.reason


def test_after_a_failed_deployment_running_ones_finish_and_no_new_cell_starts() -> None:
    """The failed cell goes back at once; the other as soon as what runs in it has ended, without waiting for proof."""
    world = World(plan([["a", "b"], ["c"]]))
    world.passed_check()
    one, two = world.deploys()
    world.end(one, ok=False)
    assert world.state.head.condemned
    assert not world.take(Abort)
    assert [d.step.deployment for d in world.deploys()] == ["a.storage"]
    world.end(two)
    assert "deploying" in world.log
    assert [(d.step.deployment, d.back) for d in world.deploys()] == [("b.storage", True)]
    assert world.state.forward.track("b.storage").reason == "not proved: it goes back"


def test_an_attempt_that_changed_nothing_gives_back_what_was_known() -> None:
    """What the stack runs is again as sure, or unsure, as it was; and it has not to go back."""
    world = World(plan([["a", "b"]]))
    world.passed_check()
    one, two = world.deploys()
    world.end(one, ok=False, changed=False)
    assert "a.storage" not in world.unknown
    world.end(two, ok=False, changed=False)
    assert not world.deploys()
    assert world.outcome[0] == "rolled_back"
    assert "nothing had been touched" in world.outcome[1]
    assert not world.take(HoldRelease), "the release is not to blame"


def test_an_attempt_that_changed_nothing_makes_nothing_known_that_another_left_half_changed() -> None:
    """Neither a second try nor a way back that is refused says what such a stack runs."""
    world = World(plan([["a"]], previous=None, services={"app": ()}))
    world.passed_check()
    world.end(world.deploys()[0], ok=False, fault="network")
    world.end(world.deploys()[0], ok=False, changed=False)
    assert world.unknown == {"a.app"}
    world.end(world.deploys()[0], ok=False, refused=True, changed=False)
    assert world.outcome[0] == "failed"
    assert world.unknown == {"a.app"}


def test_what_one_attempt_left_half_changed_stays_unknown_where_the_failure_is_tolerated() -> None:
    """The second attempt changed nothing; the first one did, and nobody goes back."""
    world = World(plan([["a", "b"]], tolerance=1, services={"app": ()}))
    world.passed_check()
    one, two = world.deploys()
    world.end(two)
    world.end(one, ok=False, fault="network")
    world.end(world.deploys()[0], ok=False, changed=False)
    assert world.state.outcome == "done"
    assert world.unknown == {"a.app"}


def test_what_fails_on_a_condemned_rollout_is_not_tried_again() -> None:
    """A reason that says nothing of the release is none to go on with it."""
    world = World(plan([["a", "b"]], retries=5))
    world.passed_check()
    one, two = world.deploys()
    world.end(one, ok=False)
    world.end(two, ok=False, fault="network")
    assert set(cells(world.deploys())) == {"a", "b"}


def reversed_(ended: State, running: dict[str, str | None]) -> tuple[World, list[str]]:
    """A rollout that takes back what is left of an ended one, run to its end; the deployments in order."""
    rest = remains(ended, running)
    reverse = World(plan([["a"]]))
    reverse.pending, reverse.log = [], []
    reverse.state = reverse_state("v2-2", ended, rest.undone, "ann asked for it", 500.0)
    reverse.feed(Started(at=500.0, actor="ann"))
    return reverse, reverse.run_all() + reverse.run_all()


def test_an_ended_rollout_can_be_taken_back() -> None:
    """A rollout made of an ended one goes straight back, in reverse, and ends rolled back."""
    world = World(plan([["a"], ["b"]]))
    for _ in range(2):
        world.passed_check()
        world.run_all()
    reverse, names = reversed_(world.state, world.ran)
    assert names[:2] == ["b.query", "b.ingest"]
    assert names[-2:] == ["b.storage", "a.storage"], "cells side by side, services in reverse"
    assert reverse.state.outcome == "rolled_back"
    assert reverse.state.undo_since == world.state.undo_since


def test_an_ended_rollout_is_taken_back_as_far_as_it_still_runs() -> None:
    """A cell that runs something else by now is left, and named; it is not even leased."""
    world = World(plan([["a"], ["b"]]))
    for _ in range(2):
        world.passed_check()
        world.run_all()
    running = {
        **world.ran,
        **{f"a.{s}": "x" * 64 for s in ("storage", "ingest", "query")},
    }
    assert remains(world.state, running).left[0] == "a.storage runs xxxxxxxxxxxx"
    reverse, names = reversed_(world.state, running)
    assert {name.split(".")[0] for name in names} == {"b"}
    assert reverse.state.forward.plan.cells == ("b",)
    assert reverse.state.outcome == "rolled_back"


def test_what_is_left_of_an_ended_rollout_is_what_it_brought_or_left_in_doubt() -> None:
    """Not what ran the same before; but where the last attempt failed, so that nobody knows what runs."""
    world = World(plan([["a"]]))
    ended_waves(world, 1)
    assert remains(world.state, {"a.query": "x" * 64}, {"a.storage"}).undone == ("a.storage",)
    same = World(plan([["a"]], previous=NEW))
    ended_waves(same, 1)
    assert remains(same.state, same.ran).undone == ()


def test_a_rollback_that_got_stuck_is_gone_on_with() -> None:
    """Only what did not go back is taken back again."""
    world = World(plan([["a"], ["b"]]))
    world.passed_check()
    world.run_all()
    world.order("rollback")
    while deploys := world.deploys():
        for deploy in deploys:
            world.end(deploy, ok=deploy.step.service == "query")
    assert world.state.outcome == "failed"
    reverse, names = reversed_(world.state, world.ran)
    assert names == ["a.ingest", "a.storage"]
    assert reverse.state.outcome == "rolled_back"
    rest = remains(world.state, dict.fromkeys(["a.ingest", "a.storage", "a.query"], OLD))
    assert rest.undone == ()
    assert [line.split()[0] for line in rest.left] == ["a.storage", "a.ingest"], "a.query went back by itself"


def cells(deploys: list[Deploy]) -> list[str]:
    """The cells of deployments that go back."""
    assert all(deploy.back for deploy in deploys)
    return [deploy.step.cell for deploy in deploys]


def ended_waves(world: World, count: int) -> None:
    """Let so many waves go well."""
    for _ in range(count):
        world.passed_check()
        world.run_all()


def test_a_cells_way_back_begins_when_its_own_attempts_have_ended() -> None:
    """Whatever still runs in another cell."""
    world = World(plan([["a", "b"]]))
    world.passed_check()
    one, two = world.deploys()
    world.order("rollback")
    world.end(one, ok=False, changed=True)
    assert cells(world.deploys()) == ["a"]
    world.end(two, ok=False)
    assert cells(world.deploys()) == ["b"]


def test_what_was_called_off_before_it_changed_anything_does_not_go_back() -> None:
    """The way back waits for no stack that was never changed; the other cell goes back."""
    world = World(plan([["a", "b"]]))
    world.passed_check()
    one, two = world.deploys()
    world.end(one)
    world.order("rollback")
    world.end(two, ok=False, changed=False)
    running = world.deploys()
    for deploy in [d for d in running if not d.back]:
        world.end(deploy, ok=False, changed=False)
    back = [d for d in running if d.back] + world.deploys()
    assert {d.step.deployment for d in back if d.back} == {"a.storage"}
    for deploy in back:
        world.end(deploy)
    assert world.state.outcome == "rolled_back"


def test_cells_go_back_side_by_side_whatever_wave_they_were_in() -> None:
    """As many as the rollback's concurrency allows; what was touched last goes first."""
    world = World(plan([["a"], ["b"], ["c"], ["d"]], rollback_concurrency=2))
    ended_waves(world, 3)
    world.order("rollback")
    first = world.deploys()
    assert cells(first) == ["c", "c", "b", "b"]
    for deploy in first[:2]:
        world.end(deploy)
    assert [d.step.deployment for d in world.deploys()] == ["c.storage"]
    for deploy in first[2:]:
        world.end(deploy)
    assert [d.step.deployment for d in world.deploys()] == ["b.storage"]


def test_harm_slows_the_way_forward_only() -> None:
    """One of four failed within the tolerance; all four go back at once."""
    world = World(plan([["a", "b", "c", "d"]], concurrency=4, tolerance=1, bake=Bake(seconds=9, limit=9)))
    world.passed_check()
    world.run_all({"a.storage"})
    world.order("rollback")
    assert set(cells(world.deploys())) == set("abcd")


@pytest.mark.parametrize("waves", [[["a", "b"], ["c"]], [["a"], ["b"], ["c"]]])
def test_two_of_a_pair_are_never_in_flight_together_on_the_way_back(waves: list[list[str]]) -> None:
    """In one wave or in two: the second goes when the first is back."""
    world = World(plan(waves, pairs=[("a", "b")]))
    ended_waves(world, len(waves) - 1)
    world.order("rollback")
    deploys = world.deploys()
    assert set(cells(deploys)) == {"b"}
    for deploy in deploys:
        world.end(deploy)
    [last] = world.deploys()
    assert not world.deploys()
    world.end(last)
    assert set(cells(world.deploys())) == {"a"}


def test_a_pair_is_kept_apart_across_both_ways() -> None:
    """While one is still being deployed, the other does not go back."""
    world = World(plan([["a", "b", "c"]], concurrency=3, pairs=[("a", "b")]))
    world.passed_check()
    deploys = world.deploys()
    while {d.step.cell for d in deploys} != {"b", "c"}:
        for deploy in [d for d in deploys if d.step.cell == "a"]:
            world.end(deploy)
        deploys = [d for d in deploys if d.step.cell != "a"] + world.deploys()
    b, c = sorted(deploys, key=lambda d: d.step.cell)
    world.end(c, ok=False)
    assert cells(world.deploys()) == ["c"], "a waits for b"
    world.end(b, ok=False)
    assert cells(world.deploys()) == ["b"]


def test_a_stuck_cell_holds_up_no_other_not_even_its_partner() -> None:
    """All others are back, and the end names what is stuck and nothing else."""
    world = World(plan([["a", "b"], ["c"], ["d"]], pairs=[("a", "b")]))
    ended_waves(world, 2)
    world.order("rollback")
    while deploys := world.deploys():
        for deploy in deploys:
            world.end(deploy, ok=deploy.step.cell != "b", refused=True, why="it would take data")
    outcome, why = world.outcome
    assert outcome == "failed"
    assert why.endswith(
        "could not roll back b.query (release: it would take data), b.ingest (release: it would take data), b.storage"
    )
    assert {name for name, release in world.ran.items() if release == OLD} == {
        f"{cell}.{service}" for cell in "ac" for service in ("storage", "ingest", "query")
    }


def test_a_proof_of_what_goes_back_is_called_off() -> None:
    """Whatever it would show, the stack goes back; nobody waits for it."""
    world = World(plan([["a", "b"]]))
    world.passed_check()
    one, two = world.deploys()
    world.deployed(one, Applied())
    [proof] = world.take(Prove)
    world.end(two, ok=False)
    assert world.take(Abort) == [Abort(deployment="a.storage", attempt=1, back=False)]
    world.proved(proof, Failure(reason="called off"))
    assert {d.step.deployment for d in world.deploys()} == {"a.storage", "b.storage"}


def test_what_stays_is_proved_all_the_same() -> None:
    """Data of a first deployment stays on the new release: what runs there is to be known."""
    world = World(plan([["a", "b"]], previous=None))
    world.passed_check()
    one, two = world.deploys()
    world.end(one, ok=False)
    assert world.outcome[0] == ""
    world.end(two)
    assert world.ran == {"b.storage": NEW}
    assert world.state.outcome == "rolled_back"
    assert "a.storage, b.storage stay, with the data" in world.outcome[1]


@pytest.mark.parametrize(("previous", "called_off"), [(OLD, 1), (None, 0), (NEW, 0)])
def test_a_persons_rollback_calls_off_a_proof_of_what_goes_back_and_of_nothing_else(
    previous: str | None, called_off: int
) -> None:
    """Once; what stays, or ran there before, is left known and not in doubt."""
    world = World(plan([["a"]], previous=previous))
    world.passed_check()
    world.deployed(world.deploys()[0], Applied())
    [proof] = world.take(Prove)
    for _ in range(2):
        world.order("rollback")
    assert len(world.take(Abort)) == called_off
    world.proved(proof, Failure(reason="called off") if called_off else None)
    world.run_all()
    assert world.state.outcome == "rolled_back"
    assert not world.unknown


def test_what_nobody_proved_before_is_left_and_named() -> None:
    """The step says beforehand that there is no way back from it; nothing is taken away."""
    made = plan([["a"], ["b"]], previous=None)
    steps = tuple(s.model_copy(update={"unproven": "a pulumi up ran there"}) for s in made.waves[0].steps)
    first = made.waves[0].model_copy(update={"steps": steps})
    world = World(made.model_copy(update={"waves": (first, made.waves[1])}))
    world.passed_check()
    assert "there is no way back from it: a pulumi up ran there" in world.texts["deploying"]
    world.run_all()
    world.order("rollback")
    assert not world.deploys()
    assert world.state.outcome == "rolled_back"
    assert "a.query stays: a pulumi up ran there" in world.outcome[1]
    assert "with the data" not in world.outcome[1], "whose they are is not known"


def test_the_release_is_held_as_soon_as_it_has_changed_something() -> None:
    """Not before: an attempt that still runs may yet have changed nothing."""
    world = World(plan([["a", "b"]]))
    world.passed_check()
    one, two = world.deploys()
    world.order("rollback")
    assert not world.take(HoldRelease)
    world.end(one, ok=False, changed=False)
    assert not world.take(HoldRelease)
    world.end(two, ok=False)
    assert len(world.take(HoldRelease)) == 1
    world.run_all()
    assert not world.take(HoldRelease)


def test_what_is_brought_by_hand_is_looked_at_before_by_nobody_and_held_for_nothing() -> None:
    """An `up` begins whatever is red; when it fails it goes back as any rollout does, and the release stays free."""
    world = World(plan([["a"]]).model_copy(update={"by_hand": True}))
    assert not world.take(Check)
    assert world.texts["started"] == "v2 to a, by hand"
    world.run_all(failing={"a.query"})
    assert not world.take(HoldRelease)
    assert world.outcome == ("rolled_back", "a.query failed: AccessDenied: no")
    assert world.ran == {"a.storage": OLD, "a.ingest": OLD, "a.query": OLD}
