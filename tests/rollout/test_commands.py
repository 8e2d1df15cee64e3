"""A person's commands: each answers the question that is asked, or says why it changes nothing."""

from __future__ import annotations

import pytest

from cellwave.health.model import Verdict
from cellwave.rollout.model import Abort, Action, Check, Started, State, Ticked, Waiting, first_state
from cellwave.waves.model import Bake
from tests.rollout.driven import World, gate
from tests.rollout.plans import plan

BAKE = Bake(seconds=1, samples=30, limit=5)


def waiting(world: World) -> Waiting:
    """What is asked; something has to be."""
    assert world.state.head.waiting is not None
    return world.state.head.waiting


def unchanged(before: State, after: State) -> bool:
    """Whether nothing but the number of the turn is another one."""
    return before.forward == after.forward and before.head == after.head.model_copy(
        update={"turn": before.head.turn}
    )


def test_what_is_asked_is_a_value() -> None:
    """Its kind, the wave, since when, what in words, and which commands answer it: nobody reads it from the journal."""
    world = World(plan([["a"]], approve=True))
    asked = waiting(world)
    assert (asked.kind, asked.wave, asked.since) == ("approval", "w1", 100.0)
    assert asked.what == "approval of wave w1"
    assert asked.answers == ("approve", "rollback")
    assert asked.question == world.state.head.turn


@pytest.mark.parametrize("action", ["approve", "resume"])
def test_an_answer_to_another_question_changes_nothing_and_names_what_is_asked(action: Action) -> None:
    """A yes that was meant for the first wave is none for the second."""
    world = World(plan([["a"], ["b"]], approve=True))
    first = waiting(world).question
    world.order("approve", question=first)
    world.passed_check()
    world.run_all()
    second, before = waiting(world), world.state
    assert second.question != first
    for question in (first, second.question + 1000):
        assert world.order(action, question=question) in {"already", "refused"}
        assert world.answer
        assert str(second.question) in world.answer.said
        assert "approval of wave w2" in world.answer.said
        assert unchanged(before, world.state)
    assert world.order("approve", question=second.question) == "taken"
    assert world.take(Check)
    assert world.state.head.approved == (0, 1)
    assert world.order(action, question=second.question - 1) == "refused", "that was no question"


def test_an_answer_that_comes_twice_is_said_to_have_been_given() -> None:
    """Two people who answer the same question: the second one is told."""
    world = World(plan([["a"]], approve=True))
    question = waiting(world).question
    assert world.order("approve", question=question) == "taken"
    assert world.order("approve", question=question) == "already"


def test_an_approval_that_nobody_asks_for_is_refused() -> None:
    """It is not kept for a later wave."""
    world = World(plan([["a"], ["b"]], approve=[2]))
    assert world.order("approve") == "refused"
    world.passed_check()
    world.run_all()
    assert waiting(world).wave == "w2"


def test_what_is_asked_keeps_its_number_while_it_is_told_anew() -> None:
    """An inconclusive bake that looks better by now is still the same question."""
    world = World(plan([["a"]], bake=BAKE))
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.INCONCLUSIVE), after=6)
    asked = waiting(world)
    world.observe(gate("a", Verdict.PASS))
    assert waiting(world).question == asked.question
    assert "passes now" in waiting(world).what
    world.observe(gate("a", Verdict.INCONCLUSIVE))
    assert "passes now" not in waiting(world).what
    assert waiting(world).question == asked.question
    assert world.order("approve", question=asked.question) == "taken"
    assert world.state.outcome == "done"


def test_failures_that_a_person_is_asked_about_are_one_question() -> None:
    """Both are named, and one resume tries both again."""
    world = World(plan([["a", "b"]], retries=0))
    world.passed_check()
    for deploy in world.deploys():
        world.end(deploy, ok=False, fault="network")
    assert "a.storage failed 1 times" in world.asked
    assert "b.storage failed 1 times" in world.asked
    world.order("resume", question=waiting(world).question)
    assert {d.step.deployment for d in world.deploys()} == {"a.storage", "b.storage"}


def test_approve_is_no_answer_to_a_failure_and_resume_none_to_an_approval() -> None:
    """Which commands answer a question is part of it."""
    world = World(plan([["a"]], retries=0, approve=True))
    assert world.order("resume") == "refused"
    world.order("approve")
    world.passed_check()
    world.end(world.deploys()[0], ok=False, fault="network")
    assert world.order("approve", question=waiting(world).question) == "refused"
    assert world.state.status == "waiting"
    assert world.order("rollback") == "taken"
    assert (world.state.status, world.state.head.waiting) == ("rolling_back", None)


def test_resume_lifts_a_pause_and_leaves_what_it_does_not_answer() -> None:
    """Paused and asked for an approval: the pause is over, the question is not."""
    world = World(plan([["a"]], approve=True))
    assert world.order("pause") == "taken"
    assert world.order("resume") == "taken"
    assert not world.state.head.paused
    assert waiting(world).kind == "approval"
    assert world.order("resume") == "refused"


def test_resume_answers_and_lifts_a_pause_in_one() -> None:
    """Nobody has to say it twice."""
    world = World(plan([["a"]], bake=BAKE))
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.INCONCLUSIVE), after=6)
    world.order("pause")
    assert world.order("resume") == "taken"
    assert world.state.status == "running"


def test_a_second_rollback_follows_the_first() -> None:
    """It is already on its way back; afterwards it was rolled back already."""
    world = World(plan([["a"]]))
    world.passed_check()
    one = world.deploys()[0]
    assert world.order("rollback") == "taken"
    assert world.order("rollback") == "already"
    world.end(one, ok=False)
    world.run_all()
    assert world.state.outcome == "rolled_back"
    assert world.order("rollback") == "already"
    assert world.order("pause") == "refused"


def test_a_command_that_comes_after_the_end_is_answered_and_journaled() -> None:
    """Under the name of whoever gave it, as every other."""
    world = World(plan([["a"]], approve=True))
    world.order("rollback")
    world.log.clear()
    assert world.order("approve") == "refused"
    assert world.answer
    assert world.answer.said == "it has ended: rolled_back"
    assert world.log == ["approve", "ignored"]


def test_a_rollback_heeds_no_question() -> None:
    """Whatever was asked when on-call read the screen: it goes back."""
    world = World(plan([["a"]], approve=True))
    assert world.order("rollback", question=4711) == "taken"
    assert world.state.outcome == "rolled_back"


def test_a_persons_rollback_interrupts_what_an_automatic_one_lets_finish() -> None:
    """Once: what runs is called off by the first word of a person."""
    world = World(plan([["a", "b"]]))
    world.passed_check()
    one, _ = world.deploys()
    world.end(one, ok=False)
    assert not world.take(Abort)
    assert world.order("rollback") == "taken"
    assert [abort.deployment for abort in world.take(Abort)] == ["b.storage"]
    assert world.order("rollback") == "already"
    assert not world.take(Abort)


@pytest.mark.parametrize("action", ["approve", "pause", "resume"])
def test_on_the_way_back_nothing_but_a_rollback_is_heard(action: Action) -> None:
    """The way back waits for nobody and never turns round."""
    world = World(plan([["a", "b"]]))
    world.passed_check()
    world.end(world.deploys()[0], ok=False)
    before = world.state
    assert world.order(action) == "refused"
    assert unchanged(before, world.state)


def test_a_rollback_that_is_read_before_the_beginning_ends_it_there() -> None:
    """Time may pass before, too: nothing is looked at, and nothing ends, until it has begun."""
    world = World(plan([["a"]]))
    world.state, world.pending = first_state("v2-1", plan([["a"]])), []
    world.feed(Ticked(at=100.0))
    assert world.order("rollback") == "taken"
    assert (world.pending, world.state.outcome) == ([], "")
    world.feed(Started(at=100.0, actor="ann"))
    assert (world.pending, world.state.outcome) == ([], "rolled_back")


def test_nothing_moves_before_the_rollout_has_begun() -> None:
    """A command that is read first is heard, and waits for the beginning; a beginning told twice is one."""
    world = World(plan([["a"]]))
    world.state, world.pending = first_state("v2-1", plan([["a"]])), []
    world.order("pause")
    assert not world.pending
    for _ in range(2):
        world.feed(Started(at=100.0, actor="ann"))
    assert world.state.status == "paused"
    assert world.log.count("started") == 2  # one of each world
