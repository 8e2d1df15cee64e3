"""The world outside of the decision core, for tests: it runs what a rollout asks for, and checks every turn it takes.

It keeps its own account of engines, proofs, looks and stacks, made of nothing but effects and events. What must hold
whatever happens is in laws.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import TypeAdapter

from cellwave.health.model import GateResult, Verdict
from cellwave.rollout.backward import restored
from cellwave.rollout.decide import decide
from cellwave.rollout.leg import Leg
from cellwave.rollout.model import (
    Abort,
    Action,
    Applied,
    Check,
    Checked,
    Commanded,
    Deploy,
    Deployed,
    Effect,
    Event,
    Failure,
    Foreseen,
    Head,
    HoldRelease,
    Observe,
    Observed,
    Position,
    Preview,
    Previewed,
    Prove,
    Proved,
    Started,
    State,
    Ticked,
    Track,
    Turn,
    first_state,
)
from cellwave.rollout.track import is_kept
from cellwave.waves.model import Plan
from tests.rollout.laws import (
    check_answer,
    check_changes,
    check_deploy,
    check_harm,
    check_in_flight,
    check_preview,
    check_state,
    without_turn,
)

EFFECTS: TypeAdapter[Effect] = TypeAdapter(Effect)
EVENTS: TypeAdapter[Event] = TypeAdapter(Event)
End = Literal["applied", "failed", "transient", "refused", "untouched", "untouched_transient"]
ENDS: dict[End, Failure | None] = {
    "applied": None,
    "failed": Failure(reason="AccessDenied: no"),
    "transient": Failure(reason="Throttling: slow down", fault="throttle"),
    "refused": Failure(reason="it would delete data", refused=True, changed=False),
    "untouched": Failure(reason="called off", changed=False),
    "untouched_transient": Failure(reason="no endpoint answered", fault="network", changed=False),
}
Sight = Literal["fine", "lossy", "objection", "unknown"]
SIGHTS: dict[Sight, Foreseen | None] = {
    "fine": Foreseen(changes={"update": 1}),
    "lossy": Foreseen(changes={"replace": 1}, lost=("urn:function",)),
    "objection": Foreseen(problem="it would replace data"),
    "unknown": None,
}
PASS, FAIL, SAME, THIN, CRITICAL = "pass", "fail", "same", "thin", "critical"


def stored(state: State) -> State:
    """A state as it comes back from its rows: head, plans, positions and tracks, each through JSON."""

    def leg(kept: Leg) -> Leg:
        plan = Plan.model_validate_json(kept.plan.to_json())
        position = Position.model_validate_json(kept.position.model_dump_json())
        tracks = {
            name: Track.model_validate_json(track.model_dump_json()) for name, track in kept.tracks.items()
        }
        return Leg.of(plan, position, tracks)

    head = Head.model_validate_json(state.head.model_dump_json())
    return State(head=head, forward=leg(state.forward), back=leg(state.back) if state.back else None)


@dataclass
class Outside:
    """A rollout and everything around it. `now` is the clock that events are stamped with."""

    state: State
    now: float = 1_000_000.0
    engines: dict[str, Deploy] = field(default_factory=dict)
    proofs: dict[str, Prove] = field(default_factory=dict)
    looks: list[Check | Observe] = field(default_factory=list)
    previews: list[Preview] = field(default_factory=list)
    called_off: set[int] = field(default_factory=set)  # previews, by number
    foreseen: dict[str, Foreseen] = field(default_factory=dict)  # what was known before a wave
    runs: dict[str, str | None] = field(default_factory=dict)  # what stacks really run; "?" is half-changed
    known: dict[str, str | None] = field(default_factory=dict)  # what the records say; "?" is unknown
    before: dict[str, str | None] = field(default_factory=dict)  # what they said before the newest attempt
    attempts: dict[tuple[bool, str], int] = field(default_factory=dict)
    harmed: set[str] = field(default_factory=set)
    past: list[Event] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    known_at_first: dict[str, str | None] = field(default_factory=dict)
    red: bool = False  # at the newest look after the way back

    @classmethod
    def of(cls, plan: Plan) -> Outside:
        """A rollout of a plan that nothing has happened to."""
        outside = cls(state=first_state("v2-1", plan))
        outside.runs = {step.deployment: step.previous for step in plan.steps}
        outside.known = dict(outside.runs)
        outside.known_at_first = dict(outside.runs)
        return outside

    def reversed(self, state: State) -> Outside:
        """The rollout that takes this one back, in the same world."""
        return Outside(state, self.now, runs=self.runs, known=self.known, known_at_first=dict(self.known))

    def feed(self, event: Event) -> Turn:
        """Let the rollout take a turn, check it, and begin what it asks for."""
        event = EVENTS.validate_json(EVENTS.dump_json(event))
        old = self.state
        turn = decide(old, event)
        self.past.append(event)
        self.state = turn.state
        check_changes(old, event, turn)
        check_answer(self, old, event, turn)
        for ran in turn.ran:
            match ran.kind:
                case "unknown":
                    self.before[ran.deployment] = self.known.get(ran.deployment)
                    self.known[ran.deployment] = "?"
                case "unchanged":
                    self.known[ran.deployment] = self.before[ran.deployment]
                case _:
                    self.known[ran.deployment] = ran.release
        self.begin(old, [EFFECTS.validate_json(EFFECTS.dump_json(effect)) for effect in turn.effects])
        check_state(self, old)
        return turn

    # What happens outside.

    def start(self) -> None:
        """The rollout begins."""
        self.feed(Started(at=self.now, actor="ann"))

    def tick(self) -> None:
        """Time passes."""
        self.feed(Ticked(at=self.now))

    def end_engine(self, name: str, end: End) -> None:
        """An engine ends."""
        effect = self.engines.pop(name)
        failure = ENDS[end]
        if failure is None:
            self.runs[name] = None if effect.step.removes else effect.step.release
        elif failure.changed:
            self.runs[name] = "?"
        result = failure or Applied(outputs={"url": name}, changes={"update": 1}, seconds=1.5)
        was = self.state
        self.feed(
            Deployed(at=self.now, deployment=name, attempt=effect.attempt, back=effect.back, result=result)
        )
        self.account(was, effect, failure)

    def end_proof(self, name: str, end: End) -> None:
        """A proof ends."""
        effect = self.proofs.pop(name)
        failure = ENDS[end]
        was = self.state
        self.feed(
            Proved(at=self.now, deployment=name, attempt=effect.attempt, back=effect.back, failure=failure)
        )
        self.account(was, effect, failure)

    def end_preview(self, pick: int, sight: Sight) -> None:
        """A preview ends, be it called off or not."""
        effect = self.previews.pop(pick % len(self.previews))
        name, seen = effect.step.deployment, SIGHTS[sight]
        late = effect.number in self.called_off
        if seen and not late:
            self.foreseen[name] = seen
        event = Previewed(at=self.now, deployment=name, number=effect.number, foreseen=seen)
        if late:
            self.again(event)
        else:
            self.feed(event)

    def account(self, was: State, effect: Deploy | Prove, failure: Failure | None) -> None:
        """Keep the budget of harm: a forward attempt that failed for the release's sake draws on it."""
        if failure is None or failure.transient or effect.back or was.head.condemned or was.outcome:
            return
        if is_kept(effect.step, effect.attempt):
            return
        self.harmed.add(effect.step.cell)
        check_harm(self)

    def end_look(self, seen: Mapping[str, str] | None = None, problems: Iterable[str] = ()) -> None:
        """The newest look that is out ends: gates are as `seen` by cell (`pass` otherwise), or problems were found."""
        look = self.looks.pop()
        was, gates, told = self.state, self.gates(seen or {}), tuple(problems)
        failing = [g for g in gates if g.verdict is Verdict.FAIL]
        wanted = look.look == was.leg.position.looking
        if was.head.condemned and wanted:
            self.red = bool(failing or told)
        if isinstance(look, Check):
            self.feed(Checked(at=self.now, look=look.look, problems=told, gates=gates))
        else:
            self.feed(Observed(at=self.now, look=look.look, gates=gates))
        if wanted and not was.head.condemned:
            self.harmed |= {g.cell for g in failing}
            check_harm(self)
            assert self.state.head.condemned or not any(g.critical for g in failing)

    def gates(self, seen: Mapping[str, str]) -> tuple[GateResult, ...]:
        """A gate for every step that has converged, or, after the way back, for what runs again."""
        leg, back = self.state.forward, self.state.back
        changed = leg.steps(leg.index.converged) if back is None else restored(back)
        verdicts = {
            FAIL: Verdict.FAIL,
            SAME: Verdict.FAIL,
            CRITICAL: Verdict.FAIL,
            THIN: Verdict.INCONCLUSIVE,
            PASS: Verdict.PASS,
        }
        return tuple(
            GateResult(
                cell=step.cell,
                service=step.service,
                gate="errors" if how == SAME else f"errors of {step.cell}",
                verdict=verdicts[how],
                reason="as seen",
                critical=how == CRITICAL,
            )
            for step in changed
            for how in [seen.get(step.cell, PASS)]
        )

    def order(self, action: Action, question: int | None = None) -> Turn:
        """A person commands."""
        return self.feed(
            Commanded(at=self.now, action=action, actor="bob", reason="why not", question=question)
        )

    def again(self, event: Event) -> None:
        """Something is told again that was told before, when it can only be late: it changes nothing."""
        old = self.state
        turn = self.feed(event)
        if isinstance(event, Deployed | Proved | Previewed | Checked | Observed):
            assert not turn.changed
            assert not turn.ran
            assert without_turn(turn.state.head) == without_turn(old.head)

    def crash(self) -> None:
        """The process dies between two turns, and another one reads the rows."""
        again = stored(self.state)
        assert again == self.state
        self.state = again

    # What a turn asks for.

    def begin(self, old: State, effects: list[Effect]) -> None:
        """Begin what was asked for."""
        for effect in effects:
            match effect:
                case Deploy():
                    check_deploy(self, effect)
                    self.engines[effect.step.deployment] = effect
                case Prove():
                    name = effect.step.deployment
                    assert name not in self.engines
                    assert name not in self.proofs
                    if is_kept(effect.step, effect.attempt):
                        check_deploy(self, effect)
                    assert self.attempts[effect.back, name] == effect.attempt
                    self.proofs[name] = effect
                case Preview():
                    check_preview(self, effect)
                    self.previews.append(effect)
                case Abort(ahead=True):
                    assert effect.attempt in {out.number for out in self.previews}, "what is called off runs"
                    self.called_off.add(effect.attempt)
                case Abort():
                    out = self.engines.get(effect.deployment) or self.proofs.get(effect.deployment)
                    assert out is not None, "what is called off runs"
                    assert (out.attempt, out.back) == (effect.attempt, effect.back)
                case Check() | Observe():
                    assert effect.look == self.state.leg.position.looking, "the newest look is waited for"
                    after = self.state.head.condemned and isinstance(effect, Observe)
                    assert not after, "after the way back it is looked at whether all is good again"
                    self.looks.append(effect)
                case HoldRelease():
                    assert not self.held, "held once"
                    self.held.append(effect.release)
        check_in_flight(self, old, effects)

    def at_work(self, back: bool) -> set[str]:
        """The cells in which something of a leg is at work."""
        out: list[Deploy | Prove] = [*self.engines.values(), *self.proofs.values()]
        return {effect.step.cell for effect in out if effect.back == back}

    def finish(self) -> None:
        """From wherever it is, a rollout whose effects end and whose questions are answered comes to an end."""
        if not self.state.head.begun:
            self.start()
        for _ in range(2000):
            if self.state.outcome:
                return
            self.now += 1
            if self.engines:
                self.end_engine(next(iter(self.engines)), "applied")
            elif self.proofs:
                self.end_proof(next(iter(self.proofs)), "applied")
            elif self.looks:
                self.end_look()
            elif waiting := self.state.head.waiting:
                action: Action = "resume" if waiting.kind == "failed" else "approve"
                assert action in waiting.answers
                assert self.order(action, waiting.question).answer
            elif self.state.head.paused:
                self.order("resume")
            else:
                assert self.state.due is not None
                self.now = self.state.due
                self.tick()
        raise AssertionError("it never ends")
