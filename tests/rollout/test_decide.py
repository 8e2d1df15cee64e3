"""The decision core: what a rollout does about everything that can happen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellwave.health.model import GateResult, Verdict
from cellwave.rollout.decide import BACK_ATTEMPTS, decide
from cellwave.rollout.state import (
    Abort,
    Action,
    Check,
    Checked,
    Commanded,
    Deploy,
    Deployed,
    Effect,
    Event,
    Hold,
    Observe,
    Observed,
    Started,
    State,
    Ticked,
    cut_off,
    first_state,
    remains,
    reverse_state,
)
from cellwave.waves.model import Bake, Plan
from tests.rollout.plans import NEW, OLD, plan


class World:
    """Drives the core: keeps the state and what it asked for, and answers as the test wants."""

    def __init__(self, made: Plan) -> None:
        self.state: State = first_state("v2-1", made)
        self.now = 100.0
        self.pending: list[Effect] = []
        self.log: list[str] = []
        self.texts: dict[str, str] = {}  # of the newest note of a kind
        self.ran: dict[str, str | None] = {}
        self.feed(Started(at=self.now, actor="ann"))

    def feed(self, event: Event) -> None:
        """Let something happen."""
        turn = decide(self.state, event)
        self.state = turn.state
        self.pending += turn.effects
        self.log += [note.kind for note in turn.notes]
        self.texts |= {note.kind: note.text for note in turn.notes}
        self.ran |= {ran.deployment: ran.release for ran in turn.ran}

    def take(self, kind: type[Effect]) -> list[Effect]:
        """The effects of a kind that were asked for since the last take."""
        taken = [effect for effect in self.pending if isinstance(effect, kind)]
        self.pending = [effect for effect in self.pending if not isinstance(effect, kind)]
        return taken

    def passed_check(self) -> None:
        """Answer the look before a wave with: nothing speaks against it."""
        assert self.take(Check)
        self.feed(Checked(at=self.now))

    def deploys(self) -> list[Deploy]:
        """Deployments asked for."""
        return [effect for effect in self.take(Deploy) if isinstance(effect, Deploy)]

    def end(self, deploy: Deploy, *, ok: bool = True, transient: bool = False, refused: bool = False) -> None:
        """Let a deployment end."""
        self.now += 1
        self.feed(
            Deployed(
                at=self.now,
                deployment=deploy.step.deployment,
                attempt=deploy.attempt,
                back=deploy.back,
                converged=ok,
                transient=transient,
                refused=refused,
                reason="" if ok else "AccessDenied: no",
            )
        )

    def run_all(self) -> list[str]:
        """Let every deployment succeed until none is asked for any more; their names in order."""
        names = []
        while deploys := self.deploys():
            for deploy in deploys:
                names.append(deploy.step.deployment)
                self.end(deploy)
        return names

    def observe(self, *gates: GateResult, after: float = 2.0) -> None:
        """Let the gates be read."""
        self.now += after
        self.feed(Observed(at=self.now, gates=gates))

    def order(self, action: Action, actor: str = "bob") -> None:
        """Give a person's command."""
        self.feed(Commanded(at=self.now, action=action, actor=actor, reason="because"))


def gate(cell: str, verdict: Verdict, service: str = "query") -> GateResult:
    """A gate's result."""
    return GateResult(
        cell=cell, service=service, gate="errors", verdict=verdict, reason="5 of 40", samples=40
    )


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


def test_a_failing_gate_rolls_back_what_was_touched_and_holds_the_release() -> None:
    """Only the touched cells go back, in reverse order, with the release that ran before."""
    world = World(plan([["a"], ["b"]], bake=Bake(seconds=10, samples=1, limit=20)))
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.FAIL))
    assert world.take(Hold) == [Hold(release=NEW, reason=world.state.condemned)]
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


def test_a_failed_deployment_lets_running_ones_finish_then_rolls_back() -> None:
    """No new cell starts after a failure; the way back begins when no engine runs any more."""
    world = World(plan([["a", "b"], ["c"]]))
    world.passed_check()
    one, two = world.deploys()
    world.end(one, ok=False)
    assert world.state.condemned
    assert not world.deploys()
    world.end(two)
    assert {d.step.deployment for d in world.deploys()} == {"a.storage", "b.storage"}


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
    assert "a.storage stays, with the data" in world.state.reason
    assert world.ran == {"a.storage": NEW, "a.ingest": None, "a.query": None}


def test_a_first_release_that_only_made_data_is_over_at_once() -> None:
    """There is nothing to take away; it is said what stays."""
    world = World(plan([["a"]], previous=None))
    world.passed_check()
    world.end(world.deploys()[0], ok=False)
    assert world.state.outcome == "rolled_back"
    assert "a.storage stays" in world.state.reason


def test_what_a_stack_runs_is_recorded_by_the_step_that_ran_it() -> None:
    """Also when it converges in the very turn that turns the rollout round."""
    world = World(plan([["a", "b"]]))
    world.passed_check()
    one, two = world.deploys()
    world.end(one, ok=False)
    world.end(two)
    assert world.state.back is not None
    assert world.ran == {"b.storage": NEW}
    world.run_all()
    assert world.ran["b.storage"] == OLD


def test_starting_what_already_runs_and_taking_it_back_changes_and_holds_nothing() -> None:
    """A rollout of the serving release brought nothing that could be to blame."""
    world = World(plan([["a"]], previous=NEW))
    world.passed_check()
    world.end(world.deploys()[0])
    world.order("rollback")
    for deploy in world.deploys():
        world.end(deploy, ok=False)
    assert world.state.outcome == "rolled_back"
    assert not world.take(Hold)
    assert not world.deploys()


def test_approval_names_the_one_way_doors() -> None:
    """A person who says yes knows what will not come back."""
    made = plan([["a"]], approve=True)
    wave = made.waves[0]
    steps = tuple(
        s.model_copy(update={"one_way": "moves the index"}) if s.stateful else s for s in wave.steps
    )
    world = World(made.model_copy(update={"waves": (wave.model_copy(update={"steps": steps}),)}))
    assert world.state.waiting == "approval of wave w1; one-way door storage: moves the index"


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
    reverse, _ = reversed_(world.state, cast(dict[str, str], world.ran))
    assert reverse.texts["back_started"].endswith(
        "takes data of storage away in a, as its one-way door allows: moves the index"
    )


def test_a_transient_error_is_tried_again_then_waits_for_a_person() -> None:
    """Throttling says nothing about the release: one retry, then a person decides; resume tries again."""
    world = World(plan([["a"]], retries=1))
    world.passed_check()
    world.end(world.deploys()[0], ok=False, transient=True)
    [again] = world.deploys()
    assert again.attempt == 2
    world.end(again, ok=False, transient=True)
    assert world.state.status == "waiting"
    world.order("approve")
    assert world.state.status == "waiting"
    world.order("resume")
    [third] = world.deploys()
    assert third.attempt == 3


def test_within_the_tolerance_a_failed_cell_is_let_pass_at_lower_concurrency() -> None:
    """After a failure, at most one more cell than the tolerance is in flight."""
    world = World(plan([["a", "b", "c", "d", "e"]], concurrency=4, tolerance=1))
    world.passed_check()
    deploys = world.deploys()
    assert len(deploys) == 4
    world.end(deploys[0], ok=False)
    for deploy in deploys[1:]:
        world.end(deploy)
    assert not world.state.condemned
    while deploys := world.deploys():
        assert len({d.step.cell for d in deploys}) <= 3
        for deploy in deploys:
            world.end(deploy)
    assert world.state.outcome == "done"


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
        assert world.take(Check)
        world.feed(Checked(at=world.now, problems=("a.query alarm is red",)))
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


def test_an_alarm_that_stays_red_before_a_wave_stops_it_for_a_person() -> None:
    """It is not the release's doing, but nobody deploys into it by themselves."""
    world = World(plan([["a"]]))
    red(world, 1000)
    assert world.state.status == "waiting"
    world.take(Check)
    world.feed(Ticked(at=world.now + 500))
    assert not world.take(Check), "a person is waited for, quietly"
    world.order("resume")
    red(world, 4)
    assert not world.deploys(), "resume looks again"
    red(world, 1000)
    world.order("approve")
    assert world.deploys(), "approve goes on in spite of it"


def test_an_inconclusive_bake_waits_and_a_person_may_approve() -> None:
    """Too little data after the limit is no verdict: a person decides."""
    world = World(plan([["a"]], bake=Bake(seconds=1, samples=30, limit=5)))
    world.passed_check()
    world.run_all()
    world.observe(gate("a", Verdict.INCONCLUSIVE), after=6)
    assert world.state.status == "waiting"
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
    assert "passes now" in world.state.waiting
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
        world.take(Observe)
        world.feed(Ticked(at=world.state.leg.next_look))
        assert world.take(Observe)
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
    assert not world.take(Hold)


def test_commands_said_twice_change_nothing_the_second_time() -> None:
    """Every command is idempotent."""
    world = World(plan([["a"]]))
    world.passed_check()
    for action in ("pause", "rollback"):
        world.order(action)
        before = world.state.model_copy(update={"turn": 0})
        world.order(action)
        assert world.state.model_copy(update={"turn": 0}) == before


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
    assert "a.query" in world.state.reason


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
    assert "a.query" in world.state.reason


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
    assert (over.outcome, over.reason, over.ended_at) == ("failed", "the sandbox was reset", 500.0)
    assert world.state.leg.running
    assert not over.forward.running
    assert not over.leg.running
    assert {track.reason for track in over.leg.tracks.values() if track.phase == "failed"} == {over.reason}
    assert over.forward.track("a.storage").phase == "converged"
    assert decide(over, Ticked(at=600.0)).state == over


def reversed_(ended: State, running: dict[str, str]) -> tuple[World, list[str]]:
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
    reverse, names = reversed_(world.state, cast(dict[str, str], world.ran))
    assert [name.split(".")[0] for name in names] == ["b"] * 3 + ["a"] * 3
    assert names[2] == "b.storage"
    assert reverse.state.outcome == "rolled_back"
    assert reverse.state.undo_since == world.state.undo_since


def test_an_ended_rollout_is_taken_back_as_far_as_it_still_runs() -> None:
    """A cell that runs something else by now is left, and named; it is not even leased."""
    world = World(plan([["a"], ["b"]]))
    for _ in range(2):
        world.passed_check()
        world.run_all()
    running = {
        **cast(dict[str, str], world.ran),
        **{f"a.{s}": "x" * 64 for s in ("storage", "ingest", "query")},
    }
    assert remains(world.state, running).left[0] == "a.storage runs xxxxxxxxxxxx"
    reverse, names = reversed_(world.state, running)
    assert {name.split(".")[0] for name in names} == {"b"}
    assert reverse.state.forward.plan.cells == ("b",)
    assert reverse.state.outcome == "rolled_back"


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
    reverse, names = reversed_(world.state, cast(dict[str, str], world.ran))
    assert names == ["a.ingest", "a.storage"]
    assert reverse.state.outcome == "rolled_back"
    assert remains(world.state, dict.fromkeys(["a.ingest", "a.storage", "a.query"], OLD)).undone == ()


def test_late_words_of_an_earlier_attempt_are_ignored() -> None:
    """A message about an attempt that is over changes nothing."""
    world = World(plan([["a"]]))
    world.passed_check()
    [storage] = world.deploys()
    world.end(storage, ok=False, transient=True)
    before = world.state.forward
    world.end(storage)
    assert world.state.forward == before


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
    world.order("rollback")
    assert world.state == before


Answer = tuple[str, int]
ANSWERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["ok", "ok", "ok", "fail", "transient", "red", "rollback", "pause", "resume", "approve"]
        ),
        st.integers(0, 7),
    ),
    max_size=120,
)


def take_off(world: World, flying: dict[str, Deploy], concurrency: int) -> None:
    """Let what was asked for start, and check what must hold of it."""
    for deploy in world.deploys():
        assert deploy.step.deployment not in flying, "one attempt of a stack at a time"
        assert deploy.back == (world.state.back is not None), "a condemned rollout only goes back"
        for need in deploy.step.after:
            assert world.state.leg.track(need).phase == "converged", "needs come first"
        flying[deploy.step.deployment] = deploy
    assert {s.deployment for s in world.state.leg.running} == set(flying)
    assert len({d.step.cell for d in flying.values() if not d.back}) <= concurrency


@settings(max_examples=200, deadline=None)
@given(
    cells=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    concurrency=st.integers(1, 3),
    tolerance=st.integers(0, 1),
    answers=ANSWERS,
)
def test_whatever_happens_the_invariants_hold(
    cells: list[int], concurrency: int, tolerance: int, answers: Sequence[Answer]
) -> None:
    """Never two attempts of a stack at once, never over the concurrency, never forward again once condemned, never a
    step before its needs; the end means what it says."""
    names = iter("abcdefghijkl")
    waves = [[next(names) for _ in range(count)] for count in cells]
    bake = Bake(seconds=2, samples=1, limit=4)
    world = World(plan(waves, concurrency=concurrency, tolerance=tolerance, bake=bake))
    flying: dict[str, Deploy] = {}
    for what, pick in answers:
        take_off(world, flying, concurrency)
        if world.take(Check):
            world.feed(Checked(at=world.now))
        elif world.take(Observe) or world.state.leg.stage == "baking":
            verdict = Verdict.FAIL if what == "red" else Verdict.PASS
            world.observe(*[gate(cell, verdict) for cell in world.state.leg.current.cells])
        elif what in ("rollback", "pause", "resume", "approve"):
            world.order(cast(Action, what))
        elif flying:
            name = sorted(flying)[pick % len(flying)]
            world.end(flying.pop(name), ok=what not in {"fail", "transient"}, transient=what == "transient")
    if world.state.outcome == "rolled_back":
        for name in world.state.touched:
            assert world.state.back is not None
            assert world.state.back.track(name).phase == "converged"
    if world.state.outcome == "done" and tolerance == 0:
        assert all(world.state.forward.phase_of(s) == "converged" for s in world.state.forward.plan.steps)
