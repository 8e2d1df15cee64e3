"""The values a rollout is made of: its state, the events that change it, the effects it asks for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

from pydantic import Field

from cellwave.frozen import Frozen
from cellwave.health.model import GateResult
from cellwave.waves.model import Plan, PlannedWave, Step

Outcome = Literal["", "done", "rolled_back", "failed"]
Action = Literal["approve", "pause", "resume", "rollback"]


class Track(Frozen):
    """How far one step has come. `at` (epoch seconds) is when it reached the phase; `outputs` are the stack's."""

    phase: Literal["pending", "running", "converged", "failed"] = "pending"
    attempt: int = 0
    at: float = 0.0
    reason: str = ""
    outputs: dict[str, str] = {}


class Leg(Frozen):
    """A plan being executed: forward, or back. `wave` is an index into the plan's waves."""

    plan: Plan
    wave: int = 0
    stage: Literal["entering", "checking", "deploying", "baking", "passed"] = "entering"
    tracks: dict[str, Track] = {}
    checking_since: float = 0.0
    baking_since: float = 0.0
    next_look: float = 0.0

    @property
    def current(self) -> PlannedWave:
        """The wave being worked on."""
        return self.plan.waves[self.wave]

    def track(self, deployment: str) -> Track:
        """A deployment's track; a fresh one when nothing has happened to it."""
        return self.tracks.get(deployment, Track())

    def phase_of(self, step: Step) -> str:
        """A step's phase."""
        return self.track(step.deployment).phase

    @property
    def running(self) -> tuple[Step, ...]:
        """The steps whose engine (or proof) is at work."""
        return tuple(step for step in self.plan.steps if self.phase_of(step) == "running")

    @property
    def failed(self) -> tuple[Step, ...]:
        """The steps that failed for good."""
        return tuple(step for step in self.plan.steps if self.phase_of(step) == "failed")


class State(Frozen):
    """Everything a rollout knows. `condemned` says why it must roll back, `waiting` what a person must decide,
    `paused` who paused it; each is "" when it does not hold. Times are epoch seconds, 0 when not reached; `began_at` is
    when what it takes back was begun by an earlier rollout (0: it takes back its own)."""

    rollout: str
    forward: Leg
    back: Leg | None = None
    outcome: Outcome = ""
    reason: str = ""
    condemned: str = ""
    waiting: str = ""
    paused: str = ""
    approved: tuple[int, ...] = ()
    gates: tuple[GateResult, ...] = ()
    turn: int = 0
    began_at: float = 0.0
    started_at: float = 0.0
    condemned_at: float = 0.0
    ended_at: float = 0.0

    @property
    def leg(self) -> Leg:
        """The leg being executed."""
        return self.back or self.forward

    @property
    def next_look(self) -> float | None:
        """When (epoch seconds) something outside is to be looked at again: the gates, or what holds a wave up."""
        looking = self.leg.stage == "baking" or (self.leg.stage == "checking" and not self.waiting)
        return self.leg.next_look if looking and not self.back and not self.outcome else None

    @property
    def status(self) -> str:
        """One word for people: running, paused, waiting, rolling_back, or the outcome."""
        if self.outcome:
            return self.outcome
        if self.back or self.condemned:
            return "rolling_back"
        return "waiting" if self.waiting else "paused" if self.paused else "running"

    @property
    def undo_since(self) -> float:
        """Since when (epoch seconds) what the engine made in a touched stack is this rollout's own."""
        return self.began_at or self.started_at

    @property
    def touched(self) -> tuple[str, ...]:
        """The deployments that the forward leg started, in plan order."""
        return tuple(
            s.deployment for s in self.forward.plan.steps if self.forward.track(s.deployment).attempt
        )


def first_state(rollout: str, plan: Plan) -> State:
    """The state of a rollout that nothing has happened to."""
    return State(rollout=rollout, forward=Leg(plan=plan))


def reverse_state(rollout: str, ended: State, only: Collection[str], why: str, at: float) -> State:
    """The state of a rollout that takes back what an ended one brought to these deployments; `at` is epoch seconds."""
    leg = ended.forward
    waves = (
        wave.model_copy(update={"steps": tuple(s for s in wave.steps if s.deployment in only)})
        for wave in leg.plan.waves
    )
    plan = leg.plan.model_copy(update={"waves": tuple(wave for wave in waves if wave.steps)})
    tracks = {name: track for name, track in leg.tracks.items() if name in only}
    forward = leg.model_copy(update={"plan": plan, "tracks": tracks, "wave": len(plan.waves) - 1})
    return State(rollout=rollout, forward=forward, condemned=why, condemned_at=at, began_at=ended.undo_since)


def cut_off(state: State, why: str, at: float) -> State:
    """The state of a rollout that is over because what it works on is gone since `at` (epoch seconds)."""

    def ended(leg: Leg) -> Leg:
        failed = {"phase": "failed", "reason": why, "at": at}
        running = {step.deployment for step in leg.running}
        tracks = {
            name: track.model_copy(update=failed) if name in running else track
            for name, track in leg.tracks.items()
        }
        return leg.model_copy(update={"tracks": tracks})

    legs = {"forward": ended(state.forward), "back": ended(state.back) if state.back else None}
    return state.model_copy(update={**legs, "outcome": "failed", "reason": why, "ended_at": at})


class Remains(Frozen):
    """What is left of an ended rollout: deployments to take back, and those that have moved on, in words."""

    undone: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def remains(ended: State, running: Mapping[str, str]) -> Remains:
    """What can be taken back of an ended rollout, stack by stack. `running` maps a stack to the digest it runs now.

    Counted are stacks that still run what it brought, or that it left half-changed; not those that went back already,
    nor those that ran the same before.
    """
    undone, left = [], []
    for step in ended.forward.plan.steps:
        name, track, now = step.deployment, ended.forward.track(step.deployment), running.get(step.deployment)
        went_back = ended.back is not None and ended.back.track(name).phase == "converged"
        if not track.attempt or went_back or step.previous == step.release:
            continue
        if now == step.release or (track.phase != "converged" and now == step.previous):
            undone.append(name)
        else:
            left.append(f"{name} runs {now[:12] if now else 'nothing'}")
    return Remains(undone=tuple(undone), left=tuple(left))


class Started(Frozen):
    """The rollout begins."""

    kind: Literal["started"] = "started"
    at: float
    actor: str


class Deployed(Frozen):
    """A deployment's attempt has ended; `converged` means the expected digest was seen from outside.

    `refused`: nothing was changed, by a rule (data, what was there before, another place) that another try meets too.
    """

    kind: Literal["deployed"] = "deployed"
    at: float
    deployment: str
    attempt: int
    back: bool
    converged: bool
    reason: str = ""
    transient: bool = False
    refused: bool = False
    outputs: dict[str, str] = {}
    changes: dict[str, int] = {}
    changed_outputs: int = 0
    seconds: float = 0.0


class Checked(Frozen):
    """The look before a wave: `problems` in words, none when the wave may start."""

    kind: Literal["checked"] = "checked"
    at: float
    problems: tuple[str, ...] = ()


class Observed(Frozen):
    """The gates of the baking wave as just read."""

    kind: Literal["observed"] = "observed"
    at: float
    gates: tuple[GateResult, ...]


class Commanded(Frozen):
    """A person's command."""

    kind: Literal["commanded"] = "commanded"
    at: float
    action: Action
    actor: str
    reason: str = ""


class Ticked(Frozen):
    """Time has passed and nothing else has happened."""

    kind: Literal["ticked"] = "ticked"
    at: float


Event = Annotated[Started | Deployed | Checked | Observed | Commanded | Ticked, Field(discriminator="kind")]


class Check(Frozen):
    """Look whether the current wave may start."""


class Deploy(Frozen):
    """Run one step's engine and prove that it converged."""

    step: Step
    attempt: int
    back: bool


class Abort(Frozen):
    """Interrupt a running attempt cleanly."""

    deployment: str
    attempt: int


class Observe(Frozen):
    """Read the gates."""


class Hold(Frozen):
    """Mark the release bad, so that nobody starts it again by mistake."""

    release: str
    reason: str


Effect = Check | Deploy | Abort | Observe | Hold


class Note(Frozen):
    """A line for the journal: what was decided or seen, and by whom."""

    kind: str
    text: str
    actor: str = "cellwave"
    subject: str = ""


class Ran(Frozen):
    """What a stack runs since a step converged: a release's digest, or nothing (None) when it was taken away."""

    deployment: str
    release: str | None
    outputs: dict[str, str] = {}


class Turn(Frozen):
    """What one event led to."""

    state: State
    effects: tuple[Effect, ...] = ()
    notes: tuple[Note, ...] = ()
    ran: tuple[Ran, ...] = ()

    def change(self, **fields: object) -> Turn:
        """The turn with fields of its state changed."""
        return self.model_copy(update={"state": self.state.model_copy(update=fields)})

    def change_leg(self, **fields: object) -> Turn:
        """The turn with fields of the leg being executed changed."""
        leg = self.state.leg.model_copy(update=fields)
        return self.change(**{"back" if self.state.back else "forward": leg})

    def record(self, ran: Ran) -> Turn:
        """The turn with what a stack runs now."""
        return self.model_copy(update={"ran": (*self.ran, ran)})

    def ask(self, *effects: Effect) -> Turn:
        """The turn with more effects asked for."""
        return self.model_copy(update={"effects": (*self.effects, *effects)})

    def note(self, kind: str, text: str, *, actor: str = "cellwave", subject: str = "") -> Turn:
        """The turn with one more line for the journal."""
        line = Note(kind=kind, text=text, actor=actor, subject=subject)
        return self.model_copy(update={"notes": (*self.notes, line)})
