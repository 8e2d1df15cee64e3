"""What a rollout has changed is watched: from its convergence to the end, and after the way back until all is good."""

from __future__ import annotations

from typing import Any

import pytest

from cellwave.health.model import GateResult, Verdict
from cellwave.rollout.forward import watch_interval
from cellwave.rollout.model import LONGEST_LOOK_SECONDS, Check, Checked, Observe, Observed, Ticked
from cellwave.waves.model import Bake
from tests.rollout.driven import World, gate
from tests.rollout.plans import plan

BAKE = Bake(seconds=10, samples=1, limit=20)
RED = gate("a", Verdict.FAIL)


def deploying_second(**how: Any) -> World:
    """A rollout whose first wave, cell a, has passed, and whose second one is just being deployed."""
    world = World(plan([["a"], ["b"]], bake=BAKE, **how))
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.PASS), after=30)
    world.passed_check()
    assert world.state.forward.stage == "deploying"
    return world


def one_look(world: World, *gates: GateResult) -> None:
    """The next look that is due reads these gates."""
    due = world.state.due
    assert due is not None
    assert due - world.now <= watch_interval(world.state.forward.current)
    world.now = due
    world.feed(Ticked(at=due))
    [look] = world.take(Observe)
    world.feed(Observed(at=due, look=look.look, gates=gates))


def test_a_gate_that_fails_while_its_wave_still_deploys_turns_the_rollout_round_within_one_look() -> None:
    """Cell a has come to run the release, cell b has not yet."""
    world = World(plan([["a", "b"]], bake=BAKE, services={"s": ()}))
    world.passed_check()
    assert world.state.due is None, "nothing has changed yet"
    first, _ = world.deploys()
    world.end(first)
    one_look(world, RED)
    assert "a.query errors" in world.state.head.condemned


def test_a_gate_that_fails_while_a_later_wave_deploys_turns_the_rollout_round() -> None:
    """The wave that it belongs to had passed long ago."""
    world = deploying_second()
    one_look(world, RED)
    assert world.state.status == "rolling_back"


def test_a_gate_that_fails_while_a_person_is_waited_for_turns_the_rollout_round() -> None:
    """Nobody has to answer any more."""
    world = World(plan([["a"], ["b"]], bake=BAKE, approve=[2]))
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.PASS), after=30)
    assert world.state.status == "waiting"
    one_look(world, RED)
    assert world.state.status == "rolling_back"
    assert world.state.head.waiting is None


def test_a_gate_that_fails_while_a_wave_is_blocked_turns_the_rollout_round() -> None:
    """The look before a wave reads the gates of earlier ones, too."""
    world = World(plan([["a"], ["b"]], bake=BAKE))
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.PASS), after=30)
    [look] = world.take(Check)
    world.feed(Checked(at=world.now, look=look.look, problems=("b.query alarm: red",), gates=(RED,)))
    assert world.state.status == "rolling_back"


def test_a_cell_of_an_earlier_wave_draws_on_the_same_tolerance() -> None:
    """One cell may be harmed: a of the first wave is, then c of the second one is too much."""
    world = World(plan([["a", "b"], ["c", "d"]], bake=BAKE, tolerance=1))
    world.passed_check()
    world.run_all()
    good = [gate(cell, Verdict.PASS) for cell in "abcd"]
    world.observe(*good[:2], after=30)
    world.passed_check()
    one_look(world, RED, good[1])
    assert list(world.state.head.harmed) == ["a"]
    assert world.state.status == "running"
    world.run_all()
    other = GateResult(cell="c", service="query", gate="slow", verdict=Verdict.FAIL, reason="it is")
    world.observe(RED, good[1], other, good[3])
    assert world.state.status == "rolling_back"


def test_a_lone_canary_that_fails_later_has_no_tolerance_either() -> None:
    """It was all of its wave."""
    world = deploying_second(tolerance=1)
    one_look(world, RED)
    assert world.state.status == "rolling_back"


def test_a_bake_depends_on_its_own_wave_only() -> None:
    """Too little is known of an earlier wave's cell since: that one has passed."""
    world = deploying_second()
    world.run_all()
    world.observe(gate("a", Verdict.INCONCLUSIVE), gate("b", Verdict.PASS), after=30)
    assert world.state.outcome == "done"


def test_a_look_of_before_the_bake_is_none_of_the_bake() -> None:
    """It did not see all of the wave."""
    world = World(plan([["a", "b"]], bake=Bake(seconds=1, samples=1, limit=2), services={"s": ()}))
    world.passed_check()
    first, second = world.deploys()
    world.end(first)
    world.now = world.state.due or 0.0
    world.feed(Ticked(at=world.now))
    [early] = world.take(Observe)
    world.end(second)
    assert world.state.forward.stage == "baking"
    world.feed(Observed(at=world.now + 1, look=early.look, gates=(gate("a", Verdict.PASS),)))
    assert not world.state.outcome


@pytest.mark.parametrize(
    ("seconds", "interval"),
    [(0, LONGEST_LOOK_SECONDS), (10, 5.0), (600, 30.0), (86_400, LONGEST_LOOK_SECONDS)],
)
def test_how_often_is_looked_follows_the_bake(seconds: float, interval: float) -> None:
    """A twentieth of it, no more often than each five seconds, and at least once a minute."""
    wave = plan([["a"]], bake=Bake(seconds=seconds)).waves[0]
    assert watch_interval(wave) == interval


def test_a_cell_deployed_by_hand_is_not_watched() -> None:
    """`up` ends with its proof."""
    made = plan([["a"]], services={"s": ()}).model_copy(update={"by_hand": True})
    world = World(made)
    [deploy] = world.deploys()
    world.end(deploy)
    assert world.state.outcome == "done"
    assert not world.take(Observe)


# After the way back.


def outcome(world: World) -> str:
    """How it ended; "" while it has not."""
    return world.state.outcome


def restoring(bake: Bake = BAKE, **how: Any) -> World:
    """A rollout that a person took back: everything runs again what it ran before."""
    world = World(plan([["a"], ["b"]], bake=bake, **how), recovers=False)
    world.passed_check()
    world.run_all()
    world.order("rollback")
    world.run_all()
    return world


def look_after(world: World, *gates: GateResult, problems: tuple[str, ...] = ()) -> None:
    """The next look after the way back sees this."""
    assert world.state.due is not None
    world.now = world.state.due
    world.feed(Ticked(at=world.now))
    [look] = world.take(Check)
    world.feed(Checked(at=world.now, look=look.look, problems=problems, gates=gates))


def test_a_rollback_is_over_when_all_is_good_again() -> None:
    """Not when the engines have ended: an alarm is red still, then too little is known, then all passes."""
    world = restoring()
    assert world.state.status == "rolling_back"
    look_after(world, problems=("a.query alarm: red already",))
    look_after(world, gate("a", Verdict.INCONCLUSIVE))
    assert not outcome(world)
    look_after(world, gate("a", Verdict.PASS))
    assert outcome(world) == "rolled_back"


@pytest.mark.parametrize(
    ("gates", "problems", "said"),
    [
        ((RED,), (), "a.query errors"),
        ((), ("a.query alarm: red already",), "a.query alarm: red already"),
        ((gate("a", Verdict.ERROR),), (), "a.query errors"),
    ],
)
def test_what_is_red_still_when_the_bake_s_limit_is_over_is_a_failure(
    gates: tuple[GateResult, ...], problems: tuple[str, ...], said: str
) -> None:
    """The reason says what."""
    world = restoring()
    while not world.state.outcome:
        look_after(world, *gates, problems=problems)
    assert world.state.outcome == "failed"
    assert said in world.state.head.reason
    assert world.now <= 100.0 + BAKE.limit + 30


def test_too_little_traffic_after_a_rollback_is_no_failure() -> None:
    """Nothing says that it is not as it was."""
    world = restoring()
    while not world.state.outcome:
        look_after(world, gate("a", Verdict.INCONCLUSIVE))
    assert world.state.outcome == "rolled_back"
    assert "not known" in world.texts["restored"]


@pytest.mark.parametrize("excused", [False, True])
def test_only_others_trouble_is_waited_out_after_a_rollback(excused: bool) -> None:
    """Patience is for what is excused; for want of traffic a bake's limit is enough."""
    bake = BAKE.model_copy(update={"patience": 10 * BAKE.limit})
    world = restoring(bake)
    while not world.state.outcome:
        look_after(world, gate("a", Verdict.INCONCLUSIVE).model_copy(update={"excused": excused}))
    assert (world.now > 100.0 + bake.patience) is excused


def test_where_no_wave_is_watched_a_rollback_is_not_either() -> None:
    """No bake is asked for."""
    assert restoring(Bake()).state.outcome == "rolled_back"


def test_a_rollback_that_leaves_nothing_running_is_not_watched() -> None:
    """All of it was made by this rollout, and is taken away."""
    assert restoring(previous=None, services={"s": ()}).state.outcome == "rolled_back"


def test_what_would_not_go_back_is_named_without_a_look() -> None:
    """A person is wanted at once."""
    world = World(plan([["a"]], bake=BAKE, services={"s": ()}), recovers=False)
    world.passed_check()
    world.run_all()
    world.order("rollback")
    while deploys := world.deploys():
        world.end(deploys[0], ok=False)
    assert world.state.outcome == "failed"
    assert "could not roll back a.s" in world.state.head.reason


def test_a_late_word_of_the_way_forward_is_no_look_after_it() -> None:
    """The numbers of looks go on."""
    world = World(plan([["a"]], bake=BAKE), recovers=False)
    world.passed_check()
    world.run_all()
    world.now = world.state.due or 0.0
    world.feed(Ticked(at=world.now))
    [late] = world.take(Observe)
    world.order("rollback")
    world.run_all()
    world.feed(Observed(at=world.now, look=late.look, gates=(gate("a", Verdict.PASS),)))
    world.feed(Checked(at=world.now, look=late.look))
    assert not outcome(world)
    look_after(world)
    assert outcome(world) == "rolled_back"
