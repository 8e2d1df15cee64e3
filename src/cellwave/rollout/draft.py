"""A turn in the making: what the rules write into, one after the other, until it is a value. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from cellwave.health.model import GateResult
from cellwave.rollout.leg import Leg
from cellwave.rollout.model import (
    Abort,
    Answer,
    Check,
    Effect,
    End,
    Head,
    News,
    Note,
    Notify,
    Observe,
    Ran,
    State,
    Turn,
)


@dataclass
class Draft:
    """A state that changes step by step, and what that asks for. Nothing outside of one decision sees it."""

    head: Head
    forward: Leg
    back: Leg | None
    effects: list[Effect] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    ran: list[Ran] = field(default_factory=list)
    readings: tuple[GateResult, ...] | None = None
    changed: set[tuple[bool, str]] = field(default_factory=set)

    @property
    def state(self) -> State:
        """The state as it is by now."""
        return State(head=self.head, forward=self.forward, back=self.back)

    def turn(self, answer: Answer | None) -> Turn:
        """The turn, as a value."""
        return Turn(
            state=self.state,
            effects=tuple(self.effects),
            notes=tuple(self.notes),
            ran=tuple(self.ran),
            readings=self.readings,
            answer=answer,
            changed=frozenset(self.changed),
        )

    def set(self, **fields: object) -> None:
        """Change fields of the head."""
        self.head = self.head.model_copy(update=fields)

    def move(self, **fields: object) -> None:
        """Change fields of the position of the leg that is executed."""
        if self.back is not None:
            self.back = self.back.move(**fields)
        else:
            self.forward = self.forward.move(**fields)

    def leg(self, back: bool) -> Leg:
        """One of the legs. LookupError: there is no way back yet."""
        leg = self.back if back else self.forward
        if leg is None:
            raise LookupError(f"{self.head.rollout} is not on its way back")
        return leg

    def put(self, back: bool, deployment: str, at: float, **fields: object) -> None:
        """Change fields of a deployment's track."""
        leg = self.leg(back)
        track = leg.track(deployment).model_copy(update={"at": at, **fields})
        leg = leg.put(deployment, track)
        self.changed.add((back, deployment))
        if back:
            self.back = leg
        else:
            self.forward = leg

    def note(self, kind: str, text: str, *, actor: str = "cellwave", subject: str = "") -> None:
        """Add a line for the journal."""
        self.notes.append(Note(kind=kind, text=text, actor=actor, subject=subject))

    def notify(self, what: News, text: str) -> None:
        """Have somebody told, where the plan says whom."""
        if self.forward.plan.notify:
            self.effects.append(Notify(turn=self.head.turn, what=what, text=text))

    def look(self) -> None:
        """Ask for a look at what the stage waits for; one that is still out is not waited for any more."""
        position = self.state.leg.position
        number = position.looks + 1
        self.move(looks=number, looking=number)
        checks = position.stage == "restoring" or (position.stage == "checking" and not self.head.waiting)
        self.effects.append(Check(look=number) if checks else Observe(look=number))

    def condemn(self, at: float, reason: str) -> None:
        """The release is not to go further: everything that the rollout touched goes back."""
        self.set(condemned=reason, condemned_at=at, waiting=None, paused="")
        self.note("rolling_back", reason)
        self.notify("rolling_back", reason)

    def call_off(self) -> None:
        """Interrupt every engine of the forward leg; what is being proved is left to the way back."""
        self.set(called_off=True)
        for step in self.forward.engines:
            self.abort(step.deployment)

    def abort(self, deployment: str) -> None:
        """Interrupt one attempt of the forward leg."""
        attempt = self.forward.track(deployment).attempt
        self.effects.append(Abort(deployment=deployment, attempt=attempt, back=False))

    def finish(self, at: float, outcome: End, reason: str) -> None:
        """End the rollout."""
        self.set(outcome=outcome, reason=reason, ended_at=at, waiting=None, paused="")
        self.note(outcome, reason)
        self.notify(outcome, reason)
