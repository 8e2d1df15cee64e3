"""A rollout that a test drives: it keeps the state and what was asked for, and answers as the test wants."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from cellwave.errors import Fault
from cellwave.frozen import Frozen
from cellwave.health.model import GateResult, Verdict
from cellwave.rollout.decide import decide
from cellwave.rollout.model import (
    Action,
    Answer,
    Applied,
    Check,
    Checked,
    Commanded,
    Deploy,
    Deployed,
    Event,
    Failure,
    Foreseen,
    Observe,
    Observed,
    Preview,
    Previewed,
    Prove,
    Proved,
    Started,
    State,
    Ticked,
    first_state,
)
from cellwave.waves.model import Plan

Taken = TypeVar("Taken", bound=Frozen)


class World:
    """Drives the core: keeps the state and what it asked for, and answers as the test wants.

    After the way back all is good again at the first look, unless `recovers` is false.
    """

    def __init__(self, made: Plan, *, recovers: bool = True) -> None:
        self.recovers = recovers
        self.state: State = first_state("v2-1", made)
        self.now = 100.0
        self.pending: list[Frozen] = []
        self.log: list[str] = []
        self.texts: dict[str, str] = {}  # of the newest note of a kind
        self.ran: dict[str, str | None] = {}  # what is known to run
        self.inputs: dict[str, str] = {}  # of what is known to run
        self.unknown: set[str] = set()
        self.answer: Answer | None = None
        self.readings: tuple[GateResult, ...] = ()
        self.feed(Started(at=self.now, actor="ann"))

    def feed(self, event: Event) -> None:
        """Let something happen."""
        turn = decide(self.state, event)
        self.state, self.answer = turn.state, turn.answer
        self.readings = self.readings if turn.readings is None else turn.readings
        self.pending += turn.effects
        self.log += [note.kind for note in turn.notes]
        self.texts |= {note.kind: note.text for note in turn.notes}
        for ran in turn.ran:
            if ran.known:
                self.ran[ran.deployment] = ran.release
                self.inputs[ran.deployment] = ran.inputs
                self.unknown.discard(ran.deployment)
            elif ran.kind == "unknown":
                self.unknown.add(ran.deployment)
            else:
                self.unknown.discard(ran.deployment)
        if self.recovers and self.state.back and self.state.back.stage == "restoring" and self.state.due:
            self.now = self.state.due
            self.feed(Ticked(at=self.now))
            [look] = self.take(Check)
            self.feed(Checked(at=self.now, look=look.look))

    def take(self, kind: type[Taken]) -> list[Taken]:
        """The effects of a kind that were asked for since the last take."""
        taken = [effect for effect in self.pending if isinstance(effect, kind)]
        self.pending = [effect for effect in self.pending if not isinstance(effect, kind)]
        return taken

    def passed_check(self, *problems: str) -> None:
        """Answer the look before a wave with: nothing (or that) speaks against it."""
        [check] = self.take(Check)
        self.feed(Checked(at=self.now, look=check.look, problems=problems))

    def deploys(self) -> list[Deploy]:
        """Deployments asked for."""
        return self.take(Deploy)

    def end(
        self,
        deploy: Deploy,
        *,
        ok: bool = True,
        fault: Fault = "release",
        refused: bool = False,
        changed: bool = True,
        why: str = "AccessDenied: no",
    ) -> None:
        """Let a deployment end; one that went well is proved at once."""
        result: Applied | Failure = Applied(outputs={"url": "there"}, changes={"update": 2}, seconds=3.0)
        if not ok:
            result = Failure(reason=why, fault=fault, refused=refused, changed=changed)
        self.deployed(deploy, result)
        for proof in self.take(Prove):
            self.proved(proof)

    def deployed(self, deploy: Deploy, result: Applied | Failure) -> None:
        """Let an engine end."""
        self.now += 1
        name, attempt, back = deploy.step.deployment, deploy.attempt, deploy.back
        self.feed(Deployed(at=self.now, deployment=name, attempt=attempt, back=back, result=result))

    def proved(self, proof: Prove, failure: Failure | None = None) -> None:
        """Let a look from outside end."""
        name, attempt, back = proof.step.deployment, proof.attempt, proof.back
        self.feed(Proved(at=self.now, deployment=name, attempt=attempt, back=back, failure=failure))

    def preview(self, problem: str = "", lost: tuple[str, ...] = (), *, known: bool = True) -> str:
        """Let the preview that was asked for end with that; whose it was ("": none was asked for)."""
        for asked in self.take(Preview):
            seen = Foreseen(changes={"update": 2}, lost=lost, problem=problem) if known else None
            name, why = asked.step.deployment, "" if known else "no endpoint answered"
            self.feed(Previewed(at=self.now, deployment=name, number=asked.number, foreseen=seen, why=why))
            return name
        return ""

    def prove_kept(self, *, is_seen: bool) -> None:
        """Let the proofs of what is kept end."""
        for proof in self.take(Prove):
            self.proved(proof, None if is_seen else Failure(reason="not seen to run"))

    def run_all(self, failing: Collection[str] = (), **how: Any) -> list[str]:
        """Let every deployment succeed, but for the failing ones, until none is asked for any more; their names in
        order."""
        names = []
        while deploys := self.deploys():
            for deploy in deploys:
                name = deploy.step.deployment
                names.append(name)
                bad = name in failing and not deploy.back
                self.end(deploy, ok=not bad, **how if bad else {})
        return names

    def observe(self, *gates: GateResult, after: float = 2.0) -> None:
        """Let some seconds pass, and every look at the gates that falls due read these."""
        until = self.now + after
        while (due := self.state.due) is not None and due <= until:
            self.now = max(self.now, due)
            self.feed(Ticked(at=self.now))
            for look in self.take(Observe):
                self.feed(Observed(at=self.now, look=look.look, gates=gates))
        self.now = until

    def order(self, action: Action, actor: str = "bob", question: int | None = None) -> str:
        """Give a person's command; what became of it."""
        self.feed(Commanded(at=self.now, action=action, actor=actor, reason="because", question=question))
        return self.answer.kind if self.answer else ""

    @property
    def asked(self) -> str:
        """What a person is asked ("": nothing)."""
        return self.state.head.waiting.what if self.state.head.waiting else ""

    @property
    def outcome(self) -> tuple[str, str]:
        """How it ended, and why."""
        return self.state.outcome, self.state.head.reason


def gate(cell: str, verdict: Verdict, service: str = "query") -> GateResult:
    """A gate's result."""
    return GateResult(
        cell=cell, service=service, gate="errors", verdict=verdict, reason="5 of 40", samples=40
    )
