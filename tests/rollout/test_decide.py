"""The decision core: what a rollout does about what happens on its way forward."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cellwave.health.model import Verdict
from cellwave.rollout.cutting import cut_off
from cellwave.rollout.decide import decide
from cellwave.rollout.forward import look_interval
from cellwave.rollout.model import (
    Action,
    Applied,
    Check,
    Deployed,
    Failure,
    Prove,
    Proved,
    Ticked,
)
from cellwave.waves.model import Bake
from tests.rollout.driven import World, gate
from tests.rollout.plans import NEW, OLD, plan


def test_services_of_a_cell_follow_their_needs() -> None:
    """Storage comes first; ingest and query start together once it has converged."""
    world = World(plan([["a"]]))
    world.passed_check()
    [storage] = world.deploys()
    assert storage.step.service == "storage"
    world.end(storage)
    assert [d.step.service for d in world.deploys()] == ["ingest", "query"]


def test_waves_follow_each_other_and_the_rollout_ends_done() -> None:
    """A wave begins after the one before it, each after a look of its own."""
    world = World(plan([["a"], ["b"]]))
    for cell in ("a", "b"):
        world.passed_check()
        assert {name.split(".")[0] for name in world.run_all()} == {cell}
    assert world.state.outcome == "done"


def test_what_nothing_shows_from_outside_converges_when_its_engine_ends() -> None:
    """No proof is asked for; what the engine told is recorded as known."""
    world = World(plan([["a"]]))
    world.passed_check()
    world.deploys()
    told = Applied(outputs={"url": "there"})
    world.feed(Deployed(at=2.0, deployment="a.storage", attempt=1, back=False, result=told, unseen=True))
    assert world.take(Prove) == []
    assert world.ran == {"a.storage": NEW}
    assert [d.step.service for d in world.deploys()] == ["ingest", "query"]


def test_concurrency_counts_cells_in_flight() -> None:
    """With a concurrency of two, the third cell starts only when one of the first two has wholly converged."""
    world = World(plan([["a", "b", "c"]], concurrency=2))
    world.passed_check()
    first = world.deploys()
    assert {d.step.cell for d in first} == {"a", "b"}
    world.end(first[0])
    rest = world.deploys()
    assert {d.step.cell for d in rest} == {"a"}
    world.end(rest[0])
    assert not world.deploys()
    world.end(rest[1])
    assert {d.step.cell for d in world.deploys()} == {"c"}


def test_a_bake_needs_time_and_data() -> None:
    """A wave whose gates pass goes on only after the bake's seconds."""
    world = World(plan([["a"]], bake=Bake(seconds=10, samples=1, limit=20)))
    world.passed_check()
    world.run_all()
    assert world.state.leg.stage == "baking"
    world.observe(gate("a", Verdict.PASS), after=5)
    assert world.state.status == "running"
    world.observe(gate("a", Verdict.PASS), after=6)
    assert world.state.outcome == "done"


def test_a_cell_in_flight_goes_on_whatever_else_of_it_is_at_work() -> None:
    """One cell at a time: what waits for one service starts while another one of the same cell still runs."""
    world = World(plan([["a", "b"]], concurrency=1, services={"s": (), "t": (), "u": ("s",)}))
    world.passed_check()
    s, t = world.deploys()
    world.end(s)
    assert [d.step.deployment for d in world.deploys()] == ["a.u"]
    assert world.state.forward.phase_of(t.step) == "running"


@pytest.mark.parametrize("bake", [Bake(seconds=5, limit=5), Bake(samples=3, limit=5)])
def test_a_bake_of_seconds_or_of_data_points_alone_is_one(bake: Bake) -> None:
    """Only one that asks for neither is none."""
    world = World(plan([["a"]], bake=bake))
    world.passed_check()
    world.run_all()
    assert world.state.leg.stage == "baking"


def test_what_is_known_of_gates_is_of_the_wave_that_is_watched() -> None:
    """The next wave begins with none; after the last one what it ended with stays to be seen."""
    world = World(plan([["a"], ["b"]], bake=Bake(seconds=5, limit=5)))
    for cell, after in (("a", ()), ("b", (gate("b", Verdict.PASS),))):
        world.passed_check()
        world.run_all()
        world.observe(gate(cell, Verdict.PASS), after=3)
        assert world.readings == (gate(cell, Verdict.PASS),)
        world.observe(gate(cell, Verdict.PASS), after=6)
        assert world.readings == after


def test_looks_grow_rarer_with_the_bake_but_never_than_a_minute() -> None:
    """One that waits for a person for days is looked at once a minute."""
    wave = plan([["a"]], bake=Bake(seconds=100, samples=1)).waves[0]
    watched = {0: 5, 100: 5, 600: 30, 10_000: 60}
    assert {seconds: look_interval(wave, seconds) for seconds in watched} == watched
    assert look_interval(plan([["a"]]).waves[0], 0) == 1


def test_what_a_stack_runs_is_unknown_from_an_attempts_begin_to_its_proof() -> None:
    """Also when its engine ends in the very turn that turns the rollout round."""
    world = World(plan([["a", "b"]]))
    world.passed_check()
    one, two = world.deploys()
    assert world.unknown == {"a.storage", "b.storage"}
    world.deployed(one, Applied())
    assert "a.storage" in world.unknown, "an engine's word is no proof"
    for proof in world.take(Prove):
        world.proved(proof)
    assert world.ran == {"a.storage": NEW}
    world.end(two, ok=False)
    for deploy in world.deploys():
        world.end(deploy)
    world.run_all()
    assert not world.unknown
    assert {world.ran[name] for name in ("a.storage", "b.storage")} == {OLD}


def test_approval_names_the_one_way_doors() -> None:
    """A person who says yes knows what will not come back."""
    made = plan([["a"]], approve=True)
    wave = made.waves[0]
    steps = tuple(
        s.model_copy(update={"one_way": "moves the index"}) if s.stateful else s for s in wave.steps
    )
    world = World(made.model_copy(update={"waves": (wave.model_copy(update={"steps": steps}),)}))
    assert world.asked == "approval of wave w1; one-way door storage: moves the index"


def test_a_transient_error_is_tried_again_then_waits_for_a_person() -> None:
    """A lost connection says nothing about the release: one retry, then a person decides; resume tries again."""
    world = World(plan([["a"]], retries=1))
    world.passed_check()
    world.end(world.deploys()[0], ok=False, fault="network")
    [again] = world.deploys()
    assert (again.attempt, again.delay) == (2, 3.0)
    world.end(again, ok=False, fault="network")
    assert world.state.status == "waiting"
    world.order("approve")
    assert world.state.status == "waiting"
    world.order("resume")
    [third] = world.deploys()
    assert (third.attempt, third.delay) == (3, 6.0), "what is in trouble is given time"


def test_a_wave_that_wants_approval_waits_for_it() -> None:
    """Nothing starts before a person approves; the approval is journaled under their name."""
    world = World(plan([["a"]], approve=True))
    assert world.state.status == "waiting"
    assert not world.take(Check)
    world.order("approve")
    world.passed_check()
    assert world.deploys()


def red(world: World, seconds: float) -> None:
    """Let every look before the wave find a red alarm, for some seconds."""
    until = world.now + seconds
    while world.now < until and world.state.status == "running":
        world.passed_check("a.query alarm is red")
        world.now += 2
        world.feed(Ticked(at=world.now))


def test_a_red_alarm_before_a_wave_is_given_time_to_clear() -> None:
    """What the rollback before it left red clears by itself; the wave starts when it has."""
    world = World(plan([["a"]]))
    red(world, 20)
    assert not world.deploys()
    assert world.log.count("blocked") == 1
    world.passed_check()
    assert world.deploys()


def test_the_patience_with_what_blocks_a_wave_begins_anew_with_each() -> None:
    """Neither the bake nor the alarm before the first wave counts for the second."""
    world = World(plan([["a"], ["b"]], bake=Bake(seconds=1000, samples=1, limit=1000)))
    red(world, 20)
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.PASS), after=1200)
    red(world, 20)
    assert world.log.count("blocked") == 2
    assert world.state.status == "running"


def test_an_alarm_that_stays_red_before_a_wave_stops_it_for_a_person() -> None:
    """It is not the release's doing, but nobody deploys into it by themselves."""
    world = World(plan([["a"]]))
    red(world, 1000)
    assert world.state.status == "waiting"
    world.feed(Ticked(at=world.now + 500))
    assert not world.take(Check), "a person is waited for, quietly"
    world.order("resume")
    red(world, 4)
    assert not world.deploys(), "resume looks again"
    assert world.state.status == "running", "as patiently as at first"
    red(world, 1000)
    world.order("approve")
    assert world.deploys(), "approve goes on in spite of it"


def test_an_inconclusive_bake_waits_and_a_person_may_approve() -> None:
    """Too little data after the limit is no verdict: a person decides."""
    world = World(plan([["a"]], bake=Bake(seconds=1, samples=30, limit=5)))
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.INCONCLUSIVE), after=60)
    assert world.state.status == "waiting"
    assert world.log.count("inconclusive") == 1, "told once, however often it is looked at"
    world.order("approve")
    assert world.state.outcome == "done"


def test_an_inconclusive_bake_begins_anew_when_resumed() -> None:
    """Trying again means the whole bake again, not one more look."""
    world = World(plan([["a"]], bake=Bake(seconds=1, samples=30, limit=5)))
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.INCONCLUSIVE), after=6)
    world.observe(gate("a", Verdict.PASS))
    assert world.state.status == "waiting", "a person was asked, and decides"
    assert "passes now" in world.asked
    world.order("resume")
    world.observe(gate("a", Verdict.INCONCLUSIVE), after=2)
    assert world.state.status == "running"
    world.observe(gate("a", Verdict.PASS), after=2)
    assert world.state.outcome == "done"


def test_a_gate_that_fails_while_a_person_is_waited_for_rolls_back() -> None:
    """Waiting or paused, the gates are still watched."""
    for command in (None, "pause"):
        world = World(plan([["a"]], bake=Bake(seconds=1, samples=30, limit=5)))
        world.passed_check()
        world.run_all()
        if command:
            world.order("pause")
        else:
            world.observe(gate("a", Verdict.INCONCLUSIVE), after=6)
            assert world.state.status == "waiting"
        world.observe(gate("a", Verdict.FAIL))
        assert world.state.back is not None


def test_pause_starts_nothing_and_resume_goes_on() -> None:
    """A paused rollout lets what runs finish."""
    world = World(plan([["a"]]))
    world.passed_check()
    [storage] = world.deploys()
    world.order("pause")
    world.end(storage)
    assert not world.deploys()
    assert world.state.status == "paused"
    world.order("resume")
    assert len(world.deploys()) == 2


def test_a_wave_is_looked_at_anew_when_it_was_paused_before_it_started() -> None:
    """What the look saw before the pause says nothing of the time after it."""
    world = World(plan([["a"]]))
    world.order("pause")
    world.passed_check()
    world.now += 7200
    world.order("resume")
    assert not world.deploys()
    world.passed_check()
    assert world.deploys()


def test_a_pause_is_lifted_by_whoever_saw_that_nothing_is_asked() -> None:
    """0 is the question of a command that was given when there was none; it answers none that came after it."""
    world = World(plan([["a"]]))
    world.order("pause")
    assert world.order("resume", question=0) == "taken"
    assert world.state.status == "running"
    red(world, 1000)
    assert world.state.status == "waiting"
    assert world.order("approve", question=0) == "refused"
    assert world.answer
    assert world.answer.said.startswith("nothing was asked when it was given; asked now is ")
    assert world.state.status == "waiting"


def test_commands_said_twice_change_nothing_the_second_time() -> None:
    """Every command is idempotent, and the second answer says so; a second rollback follows the first."""
    world = World(plan([["a"]]))
    world.passed_check()
    actions: tuple[Action, ...] = ("pause", "resume", "rollback")
    for action in actions:
        assert world.order(action) == "taken"
        world.pending.clear()
        before = world.state
        assert world.order(action) == "already"
        assert replace(world.state, head=before.head) == before
        assert world.state.head.model_copy(update={"turn": 0}) == before.head.model_copy(update={"turn": 0})
        assert not world.pending


@pytest.mark.parametrize("on_its_way_back", [False, True])
def test_what_is_cut_off_has_nothing_running_any_more(on_its_way_back: bool) -> None:
    """What was at work has failed, what had ended stays as it was; later events change nothing."""
    world = World(plan([["a"], ["b"]]))
    world.passed_check()
    first = world.deploys()[0]
    world.end(first)
    if on_its_way_back:
        world.order("rollback")
        for deploy in world.deploys():
            world.end(deploy)
    over = cut_off(world.state, "the sandbox was reset", 500.0)
    assert (over.outcome, over.head.ended_at) == ("failed", 500.0)
    assert world.state.leg.running
    assert not over.forward.running
    assert not over.leg.running
    assert {track.reason for track in over.leg.tracks.values() if track.phase == "failed"} == {
        "the sandbox was reset"
    }
    assert over.forward.track("a.storage").phase == "converged"
    assert decide(over, Ticked(at=600.0)).state == over


def test_late_words_of_an_earlier_attempt_are_ignored() -> None:
    """A message about an attempt that is over changes nothing."""
    world = World(plan([["a"]]))
    world.passed_check()
    [storage] = world.deploys()
    world.end(storage, ok=False, fault="network")
    before = world.state.forward
    world.end(storage)
    assert world.state.forward == before


@pytest.mark.parametrize(("name", "back"), [("a.storage", True), ("nowhere.storage", False), ("", True)])
def test_what_is_told_of_a_stranger_changes_nothing(name: str, back: bool) -> None:
    """Of a deployment that the plan does not have, or of a way back before there is one."""
    world = World(plan([["a"]]))
    world.passed_check()
    before = world.state.forward
    said = {"at": 100.0, "deployment": name, "attempt": 1, "back": back}
    world.feed(Deployed.model_validate(said | {"result": Failure(reason="no")}))
    world.feed(Proved.model_validate(said))
    assert (world.state.forward, world.state.back, world.state.status) == (before, None, "running")


@pytest.mark.parametrize("late", [Applied(), Failure(reason="no", fault="network"), Failure(reason="no")])
def test_what_is_told_twice_of_an_attempt_is_heard_once(late: Applied | Failure) -> None:
    """Whatever the second time says: while it is proved, and when it has converged."""
    world = World(plan([["a"]]))
    world.passed_check()
    [storage] = world.deploys()
    world.deployed(storage, Applied())
    world.deployed(storage, late)
    [proof] = world.take(Prove)
    world.proved(proof)
    running = world.deploys()
    before = world.state.forward
    world.deployed(storage, late)
    world.proved(proof, Failure(reason="no"))
    assert (world.state.forward, len(running), world.pending) == (before, 2, [])


@pytest.mark.parametrize("outcome", ["done", "rolled_back"])
def test_an_ended_rollout_ignores_everything(outcome: str) -> None:
    """Nothing that comes after the end changes it."""
    world = World(plan([["a"]]))
    world.passed_check()
    if outcome == "done":
        world.run_all()
    else:
        world.order("rollback")
        world.run_all()
        world.run_all()
    assert world.state.outcome == outcome
    before = world.state
    world.feed(Ticked(at=world.now))
    assert world.state == before
    world.order("rollback")
    turn = before.head.turn + 1
    assert world.state == replace(before, head=before.head.model_copy(update={"turn": turn}))
