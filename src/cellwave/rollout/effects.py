"""The effects of a rollout: everything impure that a turn asks for.

Each ends with an event in the rollout's inbox, under the effect's own key: performed twice, it is told once.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from cellwave.deploy.attempt import open_attempt
from cellwave.deploy.port import Deployer, Job, Operation, Progress, Result
from cellwave.errors import CellwaveError, Fault
from cellwave.faults import of_error
from cellwave.fleet.model import Isolation, Service
from cellwave.health.http import observe_digest
from cellwave.health.model import GateResult, Verdict
from cellwave.health.ports import SignalSource
from cellwave.release import MANIFEST, Release
from cellwave.releases.code import expected_digest
from cellwave.releases.sources import sources_of
from cellwave.releases.store import ReleaseStore, versions_of
from cellwave.rollout.beats import dead_hosts
from cellwave.rollout.clock import CLOCK
from cellwave.rollout.looks import Looks, fleet_of, scope_of
from cellwave.rollout.model import (
    Applied,
    Check,
    Checked,
    Deploy,
    Deployed,
    Effect,
    Event,
    Failure,
    Foreseen,
    HoldRelease,
    Note,
    Notify,
    Observe,
    Observed,
    Preview,
    Previewed,
    Prove,
    Proved,
)
from cellwave.rollout.outbox import Asked
from cellwave.rollout.proof import prove
from cellwave.rollout.records import Records
from cellwave.rollout.rows import Memory
from cellwave.rollout.track import is_kept
from cellwave.text import redact
from cellwave.waves.model import Step

PROGRESS_EVERY = 0.3
LOCKED_SECONDS = 60.0
LOCK_POLL_SECONDS = 2.0
NOTIFY_SECONDS = 30.0
log = structlog.get_logger()


@dataclass(frozen=True)
class Effects:
    """The ports a rollout works through. `target` names the state backend; `home` is where space must be free.

    `worker` is whose effects these are, and `fence` a file that says until when its engines may run ("": no bound).
    """

    home: Path
    target: str
    records: Records
    store: ReleaseStore
    deployer: Deployer
    signals: SignalSource
    memory: Memory = field(default_factory=Memory)
    worker: str = ""
    fence: str = ""

    def perform(self, key: str) -> None:
        """Do what was asked for under this key, and tell the rollout; nothing when that is done already, or another's.

        Raises only what keeps it from being told: then it is performed again.
        """
        asked = self.records.begin(key, self.worker)
        if asked is None:
            return
        try:
            event = self._perform(asked)
        except Exception as error:
            # What goes wrong in an effect is an event too: the rollout decides what follows from it.
            log.exception("an effect failed", effect=key)
            if isinstance(asked.effect, Deploy | Prove | Preview):
                open_attempt(self.home, asked.key.removesuffix(":prove")).keep_traceback(error)
            event = _broken(asked.effect, redact(f"{type(error).__name__}: {error}"), of_error(error))
        self.records.finish(asked, event, self.worker)

    def _perform(self, asked: Asked) -> Event | None:
        match asked.effect:
            case Deploy() as effect:
                return _deployed(
                    effect, self.deploy(asked, effect), unseen=self._service(effect).proof is None
                )
            case Prove() as effect:
                return self.prove(asked, effect)
            case Preview() as effect:
                return self.preview(asked, effect)
            case Check() as effect:
                state = self.records.state(asked.rollout, self.memory)
                looks = self.looks
                problems, gates = looks.after(state, state.back) if state.back else looks.before(state)
                return Checked(at=CLOCK.now(), look=effect.look, problems=problems, gates=gates)
            case Observe() as effect:
                gates = self.looks.during(self.records.state(asked.rollout, self.memory))
                return Observed(at=CLOCK.now(), look=effect.look, gates=gates)
            case HoldRelease() as effect:
                self.hold(effect, asked.rollout)
            case Notify() as effect:
                self.notify(asked, effect)
        return None

    @property
    def looks(self) -> Looks:
        """What is looked at, through the same ports."""
        return Looks(self.home, self.target, self.records, self.store, self.signals)

    def _service(self, effect: Deploy | Prove) -> Service:
        step = effect.step
        return fleet_of(self.store, step.release).service(step.cell, step.service)

    def deploy(self, asked: Asked, effect: Deploy) -> Result:
        """Run the engine on one stack with the release's own program, or take the stack away."""
        step = effect.step
        job = job_of(self.store, step, asked.key, "destroy" if step.removes else "up", self.fence).model_copy(
            update={
                "undo_since": asked.undo_since if effect.back else None,
                # What ran before may come back, whatever has been asked for or has expired since.
                **({"isolation": None} if effect.back else {}),
                "dead_hosts": dead_hosts(self.records, self.target),
                "held_to": effect.held_to,
            }
        )
        told = 0.0

        def progress(event: Progress) -> None:
            nonlocal told
            if time.monotonic() - told > PROGRESS_EVERY:
                told = time.monotonic()
                self._show(step.deployment, f"{event.operation} {event.resource}".strip(), event.done)

        def run(attempt: str) -> Result:
            return self.deployer.run(
                job.model_copy(update={"attempt": attempt}),
                progress=progress,
                aborted=partial(self._abort_asked, asked.key, asked.rollout),
            )

        result, turn, deadline = run(asked.key), 1, time.monotonic() + LOCKED_SECONDS
        # Somebody's own `pulumi up`, most likely: it will be over soon. A way back names another host's at once.
        while (
            result.outcome == "locked"
            and not (effect.back and result.elsewhere)
            and time.monotonic() < deadline
        ):
            self._show(step.deployment, result.reason)
            time.sleep(LOCK_POLL_SECONDS)
            result, turn = run(f"{asked.key}:{turn}"), turn + 1
        return result

    def preview(self, asked: Asked, effect: Preview) -> Previewed:
        """Look what the engine would do to one stack."""
        result = self.deployer.run(
            job_of(self.store, effect.step, asked.key, "preview", self.fence),
            progress=lambda event: None,
            aborted=partial(self._abort_asked, asked.key, asked.rollout),
        )
        return _previewed(effect, result)

    def _abort_asked(self, attempt: str, rollout: str) -> bool:
        # A database that is away for a moment says nothing about an engine.
        with suppress(SQLAlchemyError):
            return self.records.abort_asked(attempt, rollout)
        return False

    def _show(self, stack: str, text: str, done: int = 0) -> None:
        with suppress(SQLAlchemyError):
            self.records.set_progress(stack, text, done)

    def prove(self, asked: Asked, effect: Prove) -> Proved:
        """Look from outside until the expected digest is seen, as long as `proof` says."""
        step, service = effect.step, self._service(effect)
        missing = None
        if service.proof is not None:
            # The manifest in the release's own folder: a store that is away must not stop the way back.
            manifest = self.store.path(step.release) / MANIFEST
            release = Release.model_validate_json(manifest.read_bytes())
            expected = expected_digest(release, service, step.inputs)
            self._show(step.deployment, "proving that it converged")
            scope = scope_of(self.store, step, self._outputs(asked, effect))
            missing = prove(
                expected,
                partial(observe_digest, service.proof, scope),
                aborted=partial(self._abort_asked, asked.key.removesuffix(":prove"), asked.rollout),
                clock=time.monotonic,
                sleep=time.sleep,
            )
        failure = Failure(**missing.model_dump()) if missing else None
        return _proved(effect, failure)

    def _outputs(self, asked: Asked, effect: Prove) -> Mapping[str, str]:
        """The stack's outputs: those that its engine told, or, where none ran, those that are recorded."""
        state, name = self.records.state(asked.rollout, self.memory), effect.step.deployment
        track = (state.back if effect.back and state.back else state.forward).track(name)
        if track.applied or not is_kept(effect.step, effect.attempt):
            return track.outputs
        row = self.records.stacks(self.target).get(name)
        return row.outputs if row else {}

    def hold(self, effect: HoldRelease, rollout: str) -> None:
        """Hold a release, as far as the store can be reached: the way back does not wait for it."""
        try:
            self.store.hold(effect.release, effect.reason, rollout)
            note = Note(kind="held", text=f"{effect.release}{_named(self.store, effect.release)}")
        except (CellwaveError, OSError) as error:
            log.exception("a release could not be held", release=effect.release)
            note = Note(kind="not_held", text=redact(f"{effect.release}: {of_error(error)}: {error}"))
        self.records.note(f"{rollout}/hold", note, rollout=rollout)

    def notify(self, asked: Asked, effect: Notify) -> None:
        """Run the command that the release's plan names, with what there is to tell as JSON on its standard input."""
        plan = self.records.state(asked.rollout, self.memory).forward.plan
        news = {"rollout": asked.rollout, "version": plan.version, "release": plan.release, "at": asked.at}
        told = json.dumps(news | effect.model_dump(include={"what", "text"}))
        try:
            subprocess.run(
                plan.notify,
                input=told,
                cwd=self.store.path(plan.release),
                text=True,
                capture_output=True,
                timeout=NOTIFY_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", "") or ""
            text = redact(f"{effect.what}: {error} {said}".strip())
            self.records.note(f"{asked.key}/failed", Note(kind="not_notified", text=text), asked.rollout)


def _named(store: ReleaseStore, digest: str) -> str:
    """The versions whose content is held, as far as the store tells: a hold on one holds all."""
    versions: tuple[str, ...] = ()
    with suppress(CellwaveError, OSError):
        versions = versions_of(digest, store.list())
    if not versions:
        return ""
    first, *others = versions
    return f": {first}" + (f", and {', '.join(others)}: the same content" if others else "")


def job_of(store: ReleaseStore, step: Step, attempt: str, operation: Operation, fence: str = "") -> Job:
    """What an engine is to do about one step, with the release's own program."""
    fleet, folder = fleet_of(store, step.release), store.path(step.release)
    service = fleet.service(step.cell, step.service)
    view = sources_of(folder).view(step.deployment) if step.inputs else None
    return Job(
        attempt=attempt,
        stack=step.deployment,
        operation=operation,
        program=str(folder / service.program),
        source=str(folder),
        release=step.release,
        stateful=service.stateful,
        one_way=bool(step.one_way),
        place=fleet.place(step.cell),
        isolation=service.isolation or Isolation(),
        fence=fence,
        # What is proved is the digest of the plan, whatever this host would make of the same files.
        view=view.model_copy(update={"digest": step.inputs}) if view else None,
    )


def _deployed(effect: Deploy, result: Result, *, unseen: bool = False) -> Deployed:
    """What an attempt came to, before anybody looked from outside."""
    ended: Applied | Failure = Applied(**result.model_dump(include=set(Applied.model_fields)))
    if result.outcome != "succeeded":
        ended = Failure(
            reason=result.reason or result.outcome,
            fault=result.fault or "unknown",
            refused=result.outcome == "refused",
            changed=result.began and result.outcome not in ("locked", "refused"),
        )
    step = effect.step
    return Deployed(
        at=CLOCK.now(),
        deployment=step.deployment,
        attempt=effect.attempt,
        back=effect.back,
        result=ended,
        unseen=unseen,
    )


def _previewed(effect: Preview, result: Result) -> Previewed:
    """What a preview showed; nothing, where it failed for a reason that is not the release's."""
    foreseen, said = None, result.reason or result.outcome
    if result.outcome == "succeeded":
        foreseen = Foreseen(changes=result.changes, lost=result.lost)
    elif result.outcome in ("failed", "refused") and result.fault == "release":
        foreseen = Foreseen(changes=result.changes, problem=said)
    return Previewed(
        at=CLOCK.now(),
        deployment=effect.step.deployment,
        number=effect.number,
        foreseen=foreseen,
        why="" if foreseen else f"{result.fault}: {said}",
    )


def _proved(effect: Prove, failure: Failure | None) -> Proved:
    step = effect.step
    return Proved(
        at=CLOCK.now(), deployment=step.deployment, attempt=effect.attempt, back=effect.back, failure=failure
    )


def _broken(effect: Effect, why: str, fault: Fault) -> Event | None:
    """What a rollout is told of an effect that broke off."""
    now, failure = CLOCK.now(), Failure(reason=why, fault=fault)
    match effect:
        case Deploy():
            return _deployed(effect, Result(outcome="failed", fault=fault, reason=why))
        case Prove():
            return _proved(effect, failure)
        case Preview():
            return _previewed(effect, Result(outcome="failed", fault=fault, reason=why))
        case Check():
            return Checked(at=now, look=effect.look, problems=(f"{fault}: {why}",))  # it is no permission
        case Observe():
            error = GateResult(
                cell="", service="", gate="observation", verdict=Verdict.ERROR, reason=f"{fault}: {why}"
            )
            return Observed(at=now, look=effect.look, gates=(error,))
    return None
