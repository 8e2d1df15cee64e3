"""The effects of a rollout: everything impure that the loop in runner.py asks for, one method an effect."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from cellwave.deploy.port import Deployer, Job, Progress, Result
from cellwave.errors import Unavailable
from cellwave.fleet.model import Fleet
from cellwave.fleet.parse import parse_fleet
from cellwave.frozen import Frozen
from cellwave.health.http import observe_digest
from cellwave.health.ports import Scope, SignalSource
from cellwave.health.read import Watched, open_alarms, read_gates
from cellwave.project import Project
from cellwave.release import Release
from cellwave.releases.code import expected_digest
from cellwave.releases.files import MANIFEST
from cellwave.releases.store import ReleaseStore
from cellwave.rollout.proof import prove
from cellwave.rollout.records import Records, StackRow
from cellwave.rollout.space import require_space
from cellwave.rollout.state import Checked, Deployed, Observed, State
from cellwave.waves.model import Step

PROGRESS_EVERY = 0.3
LOCKED_SECONDS = 60.0
LOCK_POLL_SECONDS = 2.0


class Order(Frozen):
    """One attempt at one step; `name` is unique for ever, so that the engine runs it once."""

    name: str
    rollout: str
    step: Step
    attempt: int
    back: bool
    undo_since: float | None = None


def ended(order: Order, result: Result) -> Deployed:
    """What an attempt came to, before anybody looked from outside."""
    return Deployed(
        at=time.time(),
        deployment=order.step.deployment,
        attempt=order.attempt,
        back=order.back,
        converged=result.outcome == "succeeded",
        reason=result.reason or (result.outcome if result.outcome != "succeeded" else ""),
        transient=result.transient or result.outcome == "locked",
        refused=result.outcome == "refused",
        outputs=result.outputs,
        changes=result.changes,
        changed_outputs=result.changed_outputs,
        seconds=result.seconds,
    )


@lru_cache(maxsize=16)
def _fleet(release: Path) -> Fleet:
    # A release never changes, and is asked for at every step.
    return parse_fleet(Project(release).config_files())


@dataclass(frozen=True)
class Shell:
    """The ports a rollout works through. `target` names the state backend; `home` is where space must be free."""

    home: Path
    target: str
    records: Records
    store: ReleaseStore
    deployer: Deployer
    signals: SignalSource

    def fleet(self, release: str) -> Fleet:
        """The fleet as the release froze it."""
        return _fleet(self.store.path(release))

    def deploy(self, order: Order) -> Result:
        """Run the engine on one stack with the release's own program, or take the stack away."""
        step = order.step
        service = self.fleet(step.release).service(step.cell, step.service)
        folder = self.store.path(step.release)
        job = Job(
            attempt=order.name,
            stack=step.deployment,
            operation="destroy" if step.removes else "up",
            program=str(folder / service.program),
            source=str(folder),
            release=step.release,
            stateful=service.stateful,
            one_way=bool(step.one_way),
            undo_since=order.undo_since,
            place=self.fleet(step.release).place(step.cell),
        )
        told = 0.0

        def progress(event: Progress) -> None:
            nonlocal told
            if time.monotonic() - told > PROGRESS_EVERY:
                told = time.monotonic()
                text = f"{event.operation} {event.resource}".strip()
                self.records.set_progress(step.deployment, text, event.done)

        def run(attempt: str) -> Result:
            return self.deployer.run(
                job.model_copy(update={"attempt": attempt}),
                progress=progress,
                aborted=lambda: self.records.abort_asked(order.name),
            )

        result, turn, deadline = run(order.name), 1, time.monotonic() + LOCKED_SECONDS
        # Somebody's own `pulumi up`, most likely: it will be over soon. A way back names another host's at once.
        while (
            result.outcome == "locked"
            and not (order.back and result.elsewhere)
            and time.monotonic() < deadline
        ):
            self.records.set_progress(step.deployment, result.reason, 0)
            time.sleep(LOCK_POLL_SECONDS)
            result, turn = run(f"{order.name}:{turn}"), turn + 1
        return result

    def prove(self, order: Order, result: Result) -> Deployed:
        """Look from outside until the expected digest is seen, as long as `proof` says."""
        step, event = order.step, ended(order, result)
        service = self.fleet(step.release).service(step.cell, step.service)
        if not event.converged or service.proof is None or step.removes:
            return event
        # The manifest in the release's own folder: a store that is away must not stop the way back.
        manifest = self.store.path(step.release) / MANIFEST
        expected = expected_digest(Release.model_validate_json(manifest.read_bytes()), service)
        self.records.set_progress(step.deployment, "proving that it converged", 0)
        missing = prove(
            expected,
            partial(observe_digest, service.proof, self.scope(step, result.outputs)),
            aborted=lambda: self.records.abort_asked(order.name),
            clock=time.monotonic,
            sleep=time.sleep,
        )
        why = {"converged": False, **missing.model_dump()} if missing else {}
        return event.model_copy(update={**why, "at": time.time()})

    def check(self, state: State) -> Checked:
        """What speaks against starting the current wave: a red alarm, a full disk."""
        wave, release = state.leg.current, state.forward.plan.release
        problems: list[str] = []
        try:
            require_space(self.home)
        except Unavailable as full:
            problems.append(full.message)
        running = self.records.stacks(self.target)
        fleet = self.fleet(release)
        scopes = {
            (step.cell, step.service): self.scope(step, running[step.deployment].outputs)
            for step in wave.steps
            if step.deployment in running
        }
        problems += open_alarms(fleet, scopes, self.signals)
        return Checked(at=time.time(), problems=tuple(problems))

    def observe(self, state: State) -> Observed:
        """Read every gate of the wave's deployments."""
        leg = state.leg
        running, leases = self.records.stacks(self.target), self.records.leases()
        watched = [
            Watched(
                scope=self.scope(step, leg.track(step.deployment).outputs),
                since=leg.track(step.deployment).at,
                control=self._control(state, step, running, leases),
            )
            for step in leg.current.steps
            if leg.phase_of(step) == "converged"
        ]
        fleet = self.fleet(leg.plan.release)
        gates = read_gates(fleet, watched, self.signals, leg.current.bake, leg.baking_since)
        return Observed(at=time.time(), gates=tuple(gates))

    def _control(
        self, state: State, step: Step, running: Mapping[str, StackRow], leases: Mapping[str, str]
    ) -> tuple[Scope, ...]:
        """The step's service where the records say that the release before it runs, and nobody is changing it."""
        fleet = self.fleet(step.release)
        if step.previous is None or step.previous == step.release:
            return ()
        touched = {name.split(".")[0] for name in state.touched}
        return tuple(
            Scope.of(fleet, cell.name, step.service, row.outputs)
            for cell in fleet.every_cell
            if step.service in {service.name for service in fleet.services_of(cell.name)}
            and leases.get(cell.name, state.rollout) == state.rollout
            and (row := running.get(f"{cell.name}.{step.service}")) is not None
            and row.release == step.previous
            and cell.name not in touched
        )

    def scope(self, step: Step, outputs: Mapping[str, str]) -> Scope:
        """Where a deployment's signals are read, and what their texts may name."""
        return Scope.of(self.fleet(step.release), step.cell, step.service, outputs)
