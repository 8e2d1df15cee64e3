"""The values a rollout is made of: its state, the events that change it, the effects it asks for. Pure.

A state is kept as rows: its head, the position and plan of each leg, and a track a deployment and leg. All but the
tracks and the plans is small, whatever the fleet's size.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cellwave.errors import Fault
from cellwave.frozen import Frozen
from cellwave.health.model import GateResult
from cellwave.rollout.leg import Leg, Position
from cellwave.rollout.track import Applied, Foreseen, Track
from cellwave.waves.model import Plan, Step

__all__ = [  # what makes up a leg is a rollout's too, and is had from here
    "Abort", "Action", "Answer", "Applied", "Check", "Checked", "Commanded", "Deploy", "Deployed", "Effect", "End",
    "Event", "Failure", "Foreseen", "Head", "HoldRelease", "Leg", "News", "Note", "Notify", "Observe", "Observed",
    "Outcome", "Position", "Preview", "Previewed", "Prove", "Proved", "Question", "Ran", "Remains", "Started",
    "State", "Ticked", "Track", "Turn", "Waiting", "coming", "first_state", "has_come", "remains", "reverse_state",
]  # fmt: skip

Outcome = Literal["", "done", "rolled_back", "failed"]
Action = Literal["approve", "pause", "resume", "rollback"]
Question = Literal["approval", "foreseen", "blocked", "inconclusive", "failed"]
End = Literal["done", "rolled_back", "failed"]
News = Literal["foreseen", "waiting", "rolling_back", "done", "rolled_back", "failed"]
LONGEST_LOOK_SECONDS = 60.0


class Waiting(Frozen):
    """What a person is asked. `question` is the turn in which it was asked: its identity for ever; `since` is epoch
    seconds; `answers` are the commands that answer it; `what` is in words, and may be told anew while it is asked."""

    kind: Question
    wave: str
    since: float
    what: str
    answers: tuple[Action, ...]
    question: int


class Head(Frozen):
    """The scalars of a rollout. Times are epoch seconds, 0 when not reached; nothing moves before it has `begun`.

    `condemned` says why it must roll back, `paused` who paused it; each is "" when it does not hold. `approved` are the
    waves (by index) that a person said yes to, `answered` the newest question that was answered, `harmed` the cells
    that drew on the tolerance, and why. `called_off` and `held` say that what still ran was interrupted and that the
    release was held. `began_at` is when what it takes back was begun by an earlier rollout (0: it takes back its own).
    """

    rollout: str
    turn: int = 0
    begun: bool = False
    outcome: Outcome = ""
    reason: str = ""
    condemned: str = ""
    condemned_at: float = 0.0
    waiting: Waiting | None = None
    paused: str = ""
    approved: tuple[int, ...] = ()
    answered: int = 0
    harmed: dict[str, str] = {}
    called_off: bool = False
    held: bool = False
    began_at: float = 0.0
    started_at: float = 0.0
    ended_at: float = 0.0

    @property
    def undo_since(self) -> float:
        """Since when (epoch seconds) what the engine made in a touched stack is this rollout's own."""
        return self.began_at or self.started_at

    @property
    def status(self) -> str:
        """One word for people: running, paused, waiting, rolling_back, or the outcome."""
        if self.outcome:
            return self.outcome
        if self.condemned:
            return "rolling_back"
        return "waiting" if self.waiting else "paused" if self.paused else "running"


@dataclass(frozen=True, slots=True)
class State:
    """Everything a decision needs to know of a rollout."""

    head: Head
    forward: Leg
    back: Leg | None = None

    @property
    def rollout(self) -> str:
        """The rollout's name."""
        return self.head.rollout

    @property
    def outcome(self) -> Outcome:
        """How it ended; "" while it has not."""
        return self.head.outcome

    @property
    def leg(self) -> Leg:
        """The leg being executed."""
        return self.back or self.forward

    @property
    def due(self) -> float | None:
        """When (epoch seconds) something outside is to be looked at again: the gates of what has changed, what holds a
        wave up, or whether all is good again. None: at no time, or a look is out. See `has_come`."""
        position = self.leg.position
        match position.stage:
            case "baking" | "restoring":
                looking = True
            case "checking":
                looking = not self.head.waiting or bool(self.forward.index.converged)
            case _:
                looking = bool(self.forward.index.converged) and not self.forward.plan.by_hand
        if self.head.condemned:
            looking = position.stage == "restoring"
        open_ = not (self.head.outcome or position.looking)
        return position.next_look if looking and open_ else None

    @property
    def status(self) -> str:
        """One word for people: see `Head`."""
        return self.head.status

    @property
    def undo_since(self) -> float:
        """Since when (epoch seconds) what the engine made in a touched stack is this rollout's own."""
        return self.head.undo_since

    @property
    def touched(self) -> tuple[str, ...]:
        """The deployments that the forward leg may have changed, in plan order: those at work too."""
        leg = self.forward
        found = leg.steps(leg.index.changed | leg.index.active)
        return tuple(step.deployment for step in found if not leg.keeps(step))


def has_come(due: float, now: float) -> bool:
    """Whether a due time (epoch seconds) has come. One that is further away than any look is was set by a clock that
    has since been put back: it has come too."""
    return not now < due <= now + 2 * LONGEST_LOOK_SECONDS


def coming(head: Head, position: Position, waves: int) -> int | None:
    """The wave (by index), of so many, that is not begun yet and may be looked at; None when there is none, or no
    time."""
    wave, stage = position.wave, position.stage
    if head.outcome or head.condemned:
        return None
    if stage == "entering" and head.waiting:
        return wave
    return wave + 1 if stage == "baking" and wave + 1 < waves else None


def first_state(rollout: str, plan: Plan) -> State:
    """The state of a rollout that nothing has happened to; it begins with the event Started."""
    return State(head=Head(rollout=rollout), forward=Leg.of(plan))


def reverse_state(rollout: str, ended: State, only: Collection[str], why: str, at: float) -> State:
    """The state of a rollout that takes back what an ended one brought to these deployments; `at` is epoch seconds."""
    leg, chosen = ended.forward, set(only)
    waves = (
        wave.model_copy(update={"steps": tuple(s for s in wave.steps if s.deployment in chosen)})
        for wave in leg.plan.waves
    )
    plan = leg.plan.model_copy(update={"waves": tuple(wave for wave in waves if wave.steps)})
    position = Position(wave=max(0, len(plan.waves) - 1), stage="passed")
    head = Head(rollout=rollout, condemned=why, condemned_at=at, began_at=ended.undo_since)
    return State(head=head, forward=Leg.of(plan, position, leg.tracks))


class Remains(Frozen):
    """What is left of an ended rollout: deployments to take back, and those that have moved on, in words."""

    undone: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def remains(ended: State, running: Mapping[str, str | None], unknown: Collection[str] = ()) -> Remains:
    """What can be taken back of an ended rollout, stack by stack. `running` maps a stack to the digest that is known to
    run there (None: nothing does); what those in `unknown` run nobody knows, since the last attempt there failed.

    Counted are stacks that still run what it brought, or that it left half-changed; not those that went back already,
    nor those that ran the same before.
    """
    undone, left, half = [], [], set(unknown)
    for step in ended.forward.steps(ended.forward.index.changed):
        name, now = step.deployment, running.get(step.deployment)
        track = ended.forward.track(name)
        went_back = ended.back is not None and ended.back.track(name).phase == "converged"
        if went_back or step.previous == step.release:
            continue
        if name in half or now == step.release or (track.phase != "converged" and now == step.previous):
            undone.append(name)
        else:
            left.append(f"{name} runs {now[:12] if now else 'nothing'}")
    return Remains(undone=tuple(undone), left=tuple(left))


# Events: what can happen. `at` is epoch seconds. One that comes late, twice or out of order changes nothing.


class Failure(Frozen):
    """Why an attempt, or its proof, failed, and whose `fault` that is: only the release's is held against the release.
    `refused`: by a rule (data, what was there before, another place) that another try meets too. Not `changed`: the
    stack is surely as it was, for instance because the engine was called off before it began."""

    kind: Literal["failure"] = "failure"
    reason: str
    fault: Fault = "release"
    refused: bool = False
    changed: bool = True

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, told: Any) -> Any:
        """An earlier version told of two kinds, by `transient`."""
        if not isinstance(told, dict) or "transient" not in told:
            return told
        kind = "unknown" if told["transient"] else "release"
        return {"fault": kind} | {key: value for key, value in told.items() if key != "transient"}

    @property
    def transient(self) -> bool:
        """Whether it says nothing about the release."""
        return self.fault != "release"


class Started(Frozen):
    """The rollout begins; nothing moves before."""

    kind: Literal["started"] = "started"
    at: float
    actor: str


class Deployed(Frozen):
    """The engine of a deployment's attempt has ended. `unseen`: nothing shows from outside what runs there, so there is
    nothing to prove."""

    kind: Literal["deployed"] = "deployed"
    at: float
    deployment: str
    attempt: int
    back: bool
    result: Annotated[Applied | Failure, Field(discriminator="kind")]
    unseen: bool = False


class Proved(Frozen):
    """The look from outside at what an attempt brought: it runs (`failure` is None), or is not seen to."""

    kind: Literal["proved"] = "proved"
    at: float
    deployment: str
    attempt: int
    back: bool
    failure: Failure | None = None


class Previewed(Frozen):
    """The preview of that number has ended: what the update would do, or, where it could not tell, why in words."""

    kind: Literal["previewed"] = "previewed"
    at: float
    deployment: str
    number: int
    foreseen: Foreseen | None = None
    why: str = ""


class Checked(Frozen):
    """The look before a wave, or after a way back: `problems` in words, none when the wave may start, or all is good
    again, as far as the `gates` of what has changed say so too."""

    kind: Literal["checked"] = "checked"
    at: float
    look: int
    problems: tuple[str, ...] = ()
    gates: tuple[GateResult, ...] = ()


class Observed(Frozen):
    """The gates of all that the rollout has changed, as just read."""

    kind: Literal["observed"] = "observed"
    at: float
    look: int
    gates: tuple[GateResult, ...]


class Commanded(Frozen):
    """A person's command. `question` is the one that an approval or a resume answers (0: none was asked when it was
    given; None: whatever is asked)."""

    kind: Literal["commanded"] = "commanded"
    at: float
    action: Action
    actor: str
    reason: str = ""
    question: int | None = None


class Ticked(Frozen):
    """Time has passed and nothing else has happened."""

    kind: Literal["ticked"] = "ticked"
    at: float


Event = Annotated[
    Started | Deployed | Proved | Previewed | Checked | Observed | Commanded | Ticked,
    Field(discriminator="kind"),
]


# Effects: what a decision asks for. The end of Deploy, Prove, Preview, Check and Observe comes back as an event.


class Deploy(Frozen):
    """Run one step's engine, `delay` seconds from now: throttling and a held lock pass with time. It is to replace or
    delete nothing but `held_to` (URNs; None: it is not held to anything)."""

    kind: Literal["deploy"] = "deploy"
    step: Step
    attempt: int
    back: bool
    delay: float = 0.0
    held_to: tuple[str, ...] | None = None


class Prove(Frozen):
    """Look from outside until the step's release is seen to run."""

    kind: Literal["prove"] = "prove"
    step: Step
    attempt: int
    back: bool


class Preview(Frozen):
    """Look what one step's engine would do; it changes nothing. `number` is the preview's own in the rollout."""

    kind: Literal["preview"] = "preview"
    step: Step
    number: int


class Abort(Frozen):
    """Call off an attempt, whether its engine or its proof is at work, or neither yet, or (`ahead`) the preview of that
    number. It ends with its own event."""

    kind: Literal["abort"] = "abort"
    deployment: str
    attempt: int
    back: bool
    ahead: bool = False


class Check(Frozen):
    """Look whether the current wave may start, or, after the way back, whether all is good again."""

    kind: Literal["check"] = "check"
    look: int


class Observe(Frozen):
    """Read the gates of all that the rollout has changed."""

    kind: Literal["observe"] = "observe"
    look: int


class HoldRelease(Frozen):
    """Mark the release bad, so that nobody starts it again by mistake."""

    kind: Literal["hold_release"] = "hold_release"
    release: str
    reason: str


class Notify(Frozen):
    """Tell the command that the plan names, in the turn of that number: a person is wanted, or it turned round or
    ended."""

    kind: Literal["notify"] = "notify"
    turn: int
    what: News
    text: str


Effect = Annotated[
    Deploy | Prove | Preview | Abort | Check | Observe | HoldRelease | Notify,
    Field(discriminator="kind"),
]


class Note(Frozen):
    """A line for the journal: what was decided or seen, and by whom."""

    kind: str
    text: str
    actor: str = "cellwave"
    subject: str = ""


class Ran(Frozen):
    """What a stack runs from now on; a turn's are to be taken in their order.

    "unknown": an attempt at `release` has begun. "proven": it was seen to run, made of `inputs`. "gone": the stack was
    taken away. "unchanged": the attempt changed nothing, so what was known, or not, before it began holds again.
    """

    deployment: str
    kind: Literal["unknown", "proven", "gone", "unchanged"]
    release: str | None = None
    outputs: dict[str, str] = {}
    inputs: str = ""

    @property
    def known(self) -> bool:
        """Whether it tells what the stack runs."""
        return self.kind in {"proven", "gone"}


class Answer(Frozen):
    """What became of a command, in words: it was taken, was so already, or was refused and changed nothing."""

    kind: Literal["taken", "already", "refused"]
    said: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What one event led to. `readings` are the gates as they are known now (None: as they were); `changed` are
    the tracks to be written, by leg and deployment."""

    state: State
    effects: tuple[Effect, ...] = ()
    notes: tuple[Note, ...] = ()
    ran: tuple[Ran, ...] = ()
    readings: tuple[GateResult, ...] | None = None
    answer: Answer | None = None
    changed: frozenset[tuple[bool, str]] = frozenset()
