"""What is watched counts in seconds that were looked at, whatever the clock is set to."""

from __future__ import annotations

import pytest

from cellwave.health.model import Verdict
from cellwave.rollout.clock import Clock
from cellwave.rollout.model import Check, Checked, Observe, Observed, Ticked, has_come
from cellwave.waves.model import Bake
from tests.rollout.driven import World, gate
from tests.rollout.plans import plan

BAKE = Bake(seconds=600, samples=1, limit=1200)
TWO_HOURS = 7200.0


def baking() -> World:
    """A rollout that watches its only wave for ten minutes."""
    world = World(plan([["a"]], bake=BAKE))
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.PASS), after=300)
    assert world.state.forward.position.watched == pytest.approx(300, abs=31)
    return world


def test_a_clock_that_is_put_on_does_not_shorten_a_bake() -> None:
    """Two hours at once count for a few looks, not for ten minutes."""
    world = baking()
    world.now += TWO_HOURS
    world.observe(gate("a", Verdict.PASS), after=120)
    assert world.state.status == "running"
    world.observe(gate("a", Verdict.PASS), after=300)
    assert world.state.outcome == "done"


def test_a_clock_that_is_put_back_neither_blinds_nor_lengthens_a_bake() -> None:
    """A red gate is seen at the next turn, and the bake is over when ten minutes have been watched."""
    for verdict, outcome in ((Verdict.FAIL, "rolled_back"), (Verdict.PASS, "done")):
        world = baking()
        world.now -= TWO_HOURS
        world.observe(gate("a", verdict), after=0)
        world.feed(Ticked(at=world.now))
        for look in world.take(Observe):
            world.feed(Observed(at=world.now, look=look.look, gates=(gate("a", verdict),)))
        world.observe(gate("a", verdict), after=400)
        world.run_all()
        assert world.state.outcome == outcome


def test_a_due_time_that_no_timer_can_be_waiting_for_has_come() -> None:
    """It was set by a clock that has been put back since."""
    assert has_come(100.0, 100.0)
    assert has_come(100.0, 101.0)
    assert not has_come(110.0, 100.0)
    assert not has_come(160.0, 100.0)
    assert has_come(100.0 + TWO_HOURS, 100.0)


def test_a_bake_that_nobody_watches_does_not_pass() -> None:
    """A worker that was away for an hour has seen a few looks' worth."""
    world = World(plan([["a"]], bake=BAKE))
    world.passed_check()
    world.run_all()
    world.now += 3600
    world.observe(gate("a", Verdict.PASS), after=0)
    world.feed(Ticked(at=world.now))
    for look in world.take(Observe):
        world.feed(Observed(at=world.now, look=look.look, gates=(gate("a", Verdict.PASS),)))
    assert world.state.status == "running"
    assert world.state.forward.position.watched <= 90


def test_the_patience_with_what_blocks_a_wave_is_watched_time_too() -> None:
    """A clock put on by two hours calls nobody; one put back lets the looks go on."""
    world = World(plan([["a"]]))
    world.passed_check("a.query alarm is red")
    assert world.state.forward.position.watched == 0, "before the first look nothing was watched"
    for step in (2.0, TWO_HOURS, 2.0, -TWO_HOURS, 2.0):
        world.now += step
        world.feed(Ticked(at=world.now))
        world.passed_check("a.query alarm is red")
    assert world.state.status == "running"
    world.now += 2
    world.feed(Ticked(at=world.now))
    world.passed_check()
    assert world.deploys()


def test_never_are_two_looks_out_at_once() -> None:
    """However often time passes before the first is answered; an answer to an older one changes nothing."""
    world = World(plan([["a"]]))
    [first] = world.take(Check)
    for _ in range(3):
        world.now += 100
        world.feed(Ticked(at=world.now))
    assert not world.take(Check)
    assert world.state.due is None
    world.feed(Checked(at=world.now, look=first.look, problems=("red",)))
    for look in (first.look, 0):
        world.feed(Checked(at=world.now, look=look))
        assert not world.deploys(), "a late word starts nothing, nor does one of no look"
    world.now += 2
    world.feed(Ticked(at=world.now))
    [second] = world.take(Check)
    assert second.look > first.look
    world.feed(Checked(at=world.now, look=first.look))
    assert not world.deploys(), "while the second is out, neither"
    world.feed(Checked(at=world.now, look=second.look))
    assert world.deploys()


def test_an_answer_of_the_other_kind_of_look_starts_nothing() -> None:
    """What was asked for is a reading of gates: that nothing speaks against the wave is none."""
    world = baking()
    world.now += 60
    world.feed(Ticked(at=world.now))
    [look] = world.take(Observe)
    world.feed(Checked(at=world.now, look=look.look))
    assert world.state.forward.stage == "baking"


def test_gates_that_are_read_on_the_way_back_are_no_new_reason() -> None:
    """It goes back for what it was turned round for."""
    world = baking()
    world.now += 60
    world.feed(Ticked(at=world.now))
    [look] = world.take(Observe)
    world.order("rollback")
    before = world.state.head.condemned
    assert world.state.due is None
    world.feed(Observed(at=world.now, look=look.look, gates=(gate("a", Verdict.FAIL),)))
    assert world.state.head.condemned == before
    assert world.log.count("rolling_back") == 1


def test_a_look_that_ends_on_the_way_back_is_told_of_nobody() -> None:
    """The wave that it looked at is none any more."""
    world = World(plan([["a"], ["b"]]))
    world.passed_check()
    world.run_all()
    world.order("rollback")
    world.passed_check("a.query alarm is red")
    assert "blocked" not in world.log
    assert world.state.forward.stage == "checking"


def test_the_look_before_a_wave_waits_for_no_other() -> None:
    """The last wave's gates are still being read when a person approves: their answer is late, and not needed."""
    world = World(plan([["a"], ["b"]], bake=Bake(seconds=1, samples=1, limit=2)))
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.INCONCLUSIVE), after=3)
    while not (out := world.take(Observe)):
        world.now += 1
        world.feed(Ticked(at=world.now))
    world.order("approve")
    assert world.state.forward.current.name == "w2"
    world.feed(Observed(at=world.now, look=out[0].look, gates=(gate("a", Verdict.FAIL),)))
    assert not world.state.head.condemned
    world.passed_check()
    assert world.deploys()


def test_a_clock_that_is_stepped_back_and_forth_counts_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred seconds are a hundred, however it jumps by some; one that was set is followed at once."""
    boot, off = 50.0, 0.0
    monkeypatch.setattr("cellwave.rollout.clock.since_boot", lambda: boot)
    monkeypatch.setattr("cellwave.rollout.clock.time.time", lambda: 1000.0 + boot + off)
    clock = Clock()
    begun = clock.now()
    for second in range(100):
        boot += 1
        off = 3.0 if second % 2 else -1.5
        assert clock.now() == pytest.approx(begun + second + 1)
    off = TWO_HOURS
    assert clock.now() == pytest.approx(1000.0 + boot + TWO_HOURS)
