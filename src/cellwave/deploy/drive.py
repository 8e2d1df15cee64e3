"""One attempt, start to end: free the stack, mend what an earlier run left, check, run the engine, tell the result."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from cellwave.deploy.ahead import is_guarded, looks_ahead, objection, told
from cellwave.deploy.attempt import PACKAGES, PREPARING, Attempt
from cellwave.deploy.backend import message_of
from cellwave.deploy.bounds import bounds_of
from cellwave.deploy.broken import broken
from cellwave.deploy.checkpoint import (
    Deployment,
    Exported,
    StackFiles,
    StackLock,
    break_lock,
    is_physical,
    locks_in,
    made_since,
    stack_files,
)
from cellwave.deploy.command import NOT_BEGUN, Ended, Launch, run_plain, run_with_program
from cellwave.deploy.deadlines import Deadlines
from cellwave.deploy.disk import unwritable
from cellwave.deploy.events import Story, plain_outputs, read_story
from cellwave.deploy.fence import is_over
from cellwave.deploy.given import given
from cellwave.deploy.hosts import Look, Program
from cellwave.deploy.port import Job, Outcome, Result
from cellwave.deploy.prepare import prepare_work, private
from cellwave.deploy.reasons import clean, fault_of, reason_of
from cellwave.deploy.repair import Step, doubt, mend
from cellwave.errors import Fault
from cellwave.isolation.model import Bounds
from cellwave.isolation.rules import findings
from cellwave.releases.views import View
from cellwave.states import REFERENCE_TYPE, STACK_TYPE, name_of
from cellwave.text import redact
from cellwave.words import is_lost

YIELDS = 5  # steps of niceness
TRIES = 4  # a killed engine, a dead lock and a missing stack each cost one

ENGINE_ENVIRONMENT = {
    "PULUMI_DEBUG_COMMANDS": "true",  # makes --client and --event-log known
    "PULUMI_SKIP_UPDATE_CHECK": "true",
    # The stack's own encryption, as its state has it: no Pulumi.<stack>.yaml is needed.
    "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
}
# The engine's progress is its sign of life.
ALWAYS = ("--suppress-permalink=true", "--suppress-progress=false")
UP = ("--yes", "--suppress-outputs", *ALWAYS)
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "preview": ("preview", "--suppress-outputs", *ALWAYS),
    "refresh": ("refresh", "--yes", "--skip-preview", "--suppress-outputs", *ALWAYS),
    "destroy": ("destroy", "--yes", "--skip-preview", "--remove", *ALWAYS),
}


@dataclass(frozen=True)
class Task:
    """What a driver is told: the job, the engine's path and environment, the attempt's folder and held lock, the folder
    of cellwave's own files, and how long an abort takes."""

    job: Job
    engine: str
    environment: Mapping[str, str]
    attempt: Attempt
    lock: int
    home: Path
    deadlines: Deadlines


@dataclass(frozen=True)
class Drive:
    """An attempt at work: its job, how to launch the engine, the stack's files if the backend is a directory, and what
    its resources are held to."""

    job: Job
    launch: Launch
    files: StackFiles | None
    bounds: Bounds | None
    left: Sequence[Step] = ()  # by a run of this attempt whose driver was killed: they may have been done

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the attempt, its program and its state are written."""
        scratch = Path(self.launch.environment.get("TMPDIR") or tempfile.gettempdir())
        return (self.launch.attempt.folder, scratch, *([self.files.root] if self.files else []))

    def log(self) -> str:
        """What the engine's last command printed; "" where none has begun."""
        try:
            return clean(self.launch.attempt.log.read_text(errors="replace"))
        except FileNotFoundError:
            return ""


def drive(task: Task) -> Result:
    """Run the task's job; whatever goes wrong is in the result."""
    begun = time.monotonic()
    try:
        result = _run(_prepare(task))
    except _Wrong as wrong:
        result = Result(outcome="failed", reason=redact(str(wrong)), fault="release")
    except Exception as error:  # noqa: BLE001 - its traceback is kept
        result = broken(task.attempt, error)
    return result.model_copy(update={"seconds": round(time.monotonic() - begun, 3)})


class _Wrong(Exception):
    """The release's own files can't be used; the text says why."""


def _prepare(task: Task) -> Drive:
    left = unanswered(read_story(task.attempt.events))
    task.attempt.begin(task.job)
    job = private(task.job, task.attempt.work)
    task.attempt.give_sign(PACKAGES)
    try:
        project, program, virtualenv = prepare_work(job, task.attempt.work, task.home)
    except (YAMLError, ValueError) as error:
        raise _Wrong(str(error)) from error
    task.attempt.give_sign(PREPARING)
    # A program through `cellwave.cell` asks whose its cell is when nobody of cellwave's runs it.
    environment = {**task.environment, **ENGINE_ENVIRONMENT, "CELLWAVE_ATTEMPT": task.job.attempt}
    # For dynamic providers: they are processes of their own.
    environment["PULUMI_RUNTIME_VIRTUALENV"] = str(virtualenv or sys.prefix)
    if "PULUMI_DEBUG_PROVIDERS" in environment:
        # The provider runs already: looking for its plugin to download would take seconds.
        environment["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    # Programs import from `src` beside their Pulumi.yaml, as by a literal `pulumi up`, else from the project's.
    root = Path(job.program if (Path(job.program) / "src").is_dir() else job.source)
    told, log = given(environment) if job.view else environment, task.attempt.program_log
    served = Program(program, root, virtualenv, told, log, in_view=job.view is not None) if program else None
    launch = Launch(task.engine, environment, task.attempt, task.lock, served, task.deadlines, job.fence)
    files = stack_files(environment, project, job.stack)
    return Drive(job, launch, files, bounds_of(task.job), left)  # the job's own source: a copy has no cells


class _Again(Exception):
    """A command came to nothing because its engine was killed, or met these locks: free the stack and begin anew."""

    def __init__(self, locks: tuple[StackLock, ...] = ()) -> None:
        super().__init__()
        self.locks = locks


class _Stopped(Exception):
    """There is nothing more to do: this is the result."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.reason)
        self.result = result


def _run(at: Drive) -> Result:
    locks = at.files.locks() if at.files else ()
    for _ in range(TRIES):
        try:
            if is_over(at.launch.fence):
                _check(at, NOT_BEGUN)  # another host has the stack: no file of it is ours any more
            _free(at, locks)
            return _once(at)
        except _Stopped as stopped:
            return stopped.result
        except _Again as again:
            locks = again.locks or (at.files.locks() if at.files else ())
    return Result(outcome="failed", reason=f"the engine was killed {TRIES} times", fault="host")


def _once(at: Drive) -> Result:
    """Bring the stack into a state that can be worked on, then do the job."""
    if at.job.operation == "destroy" and at.files and at.files.is_usable and not at.files.has_stack():
        return Result(outcome="succeeded")
    if at.job.operation == "preview":
        return _preview(at)
    _ensure_stack(at)
    mended = mend(_export(at), at.launch, lambda *arguments: _plain(at, *arguments), at.left)
    deployment = mended.get("deployment") or {}
    if at.job.operation == "destroy":
        _keep_what_was_there(at, deployment)
        _plain(at, *ARGUMENTS["destroy"], *_message(at), "--event-log", str(at.launch.attempt.events))
    elif at.job.operation == "up":
        _update(at, deployment)
    else:
        _operate(at, *ARGUMENTS[at.job.operation], *_message(at))
    story = read_story(at.launch.attempt.events)
    if not story.finished:
        full = unwritable(at.folders)
        reason = f"the engine succeeded, but its event log is not whole{f': {full}' if full else ''}"
        return Result(
            outcome="failed", changes=story.changes, reason=reason, fault="disk" if full else "unknown"
        )
    result = Result(
        outcome="succeeded",
        changes=story.changes,
        outputs=story.outputs,
        changed_outputs=_changed_outputs(deployment, story) if at.job.operation == "up" else 0,
    )
    if (at.job.place or at.job.view) and at.job.operation == "up":
        resources = (_export(at).get("deployment") or {}).get("resources", [])
        if at.bounds and (found := findings(resources, replace(at.bounds, is_made=True))):
            why = {"outcome": "failed", "reason": told(found), "findings": tuple(found), "fault": "release"}
            return result.model_copy(update=why)
        if at.job.view:
            return result.model_copy(update={"beyond": read_beyond(resources, at.job.view)})
    return result


def _preview(at: Drive) -> Result:
    """Tell what an update would do. The stack is neither made nor mended; where it would be, nothing can be told.

    Nothing waits for it: this process, and all that it starts, make room for whatever deploys.
    """
    os.nice(YIELDS)
    if at.files and at.files.is_usable and not at.files.has_stack():
        return Result(outcome="failed", reason="there is no such stack yet", fault="unknown")
    deployment = _export(at).get("deployment") or {}
    if deployment.get("pending_operations"):
        return Result(outcome="failed", reason="an earlier run left it half-changed", fault="unknown")
    _operate(at, *ARGUMENTS["preview"])
    story = read_story(at.launch.attempt.events)
    lost = tuple(dict.fromkeys(urn for _, urn in story.destroyed))
    return objection(at.job, deployment, story, at.bounds) or Result(
        outcome="succeeded", changes=story.changes, outputs=story.outputs, lost=lost
    )


def read_beyond(resources: Iterable[Mapping[str, Any]], view: View) -> tuple[str, ...]:
    """The stacks whose outputs a stack of this state reads, without those that its view tells of. Pure."""
    read = {str((r.get("inputs") or {}).get("name")) for r in resources if r["type"] == REFERENCE_TYPE}
    return tuple(sorted(name for name in read if name.rpartition("/")[2] not in view.needs))


def _message(at: Drive) -> tuple[str, ...]:
    """Without one, the engine takes the title of the last commit around."""
    return ("--message", message_of(at.job))


def _changed_outputs(before: Deployment, story: Story) -> int:
    """How many of the stack's outputs an update changed; none of a stack that was not there."""
    stack = next((r for r in before.get("resources", ()) if r["type"] == STACK_TYPE), None)
    if stack is None:
        return 0
    old, new = plain_outputs(stack.get("outputs") or {}), story.outputs
    return sum(old.get(name) != new.get(name) for name in old.keys() | new.keys())


def _free(at: Drive, locks: tuple[StackLock, ...]) -> None:
    """Break dead owners' locks; stops when a living one (or one of another host) holds the stack."""
    living = [lock for lock in locks if not lock.is_dead_to(at.job.dead_hosts)]
    if living:
        elsewhere = any(lock.is_elsewhere for lock in living)
        reason = "the stack is locked by " + ", ".join(f"{lock.owner} since {lock.since}" for lock in living)
        if elsewhere:
            reason += f"; if it is known to be dead there: pulumi cancel --stack {at.job.stack}"
        owner = ", ".join(lock.owner for lock in living)
        raise _Stopped(Result(outcome="locked", owner=owner, elsewhere=elsewhere, reason=reason))
    if at.job.operation == "preview":
        return
    for lock in locks:
        break_lock(lock)
    if at.files:
        at.files.tidy(crashed=bool(locks))
    if any(lock.file is None for lock in locks):
        run_plain(at.launch, ["cancel", "--yes", "--stack", at.job.stack])


def _ensure_stack(at: Drive) -> None:
    """Make the stack when it is not there."""
    if at.files and at.files.is_usable:
        if not at.files.has_stack():
            at.files.make_stack()
        return
    try:
        _plain(at, "stack", "init", "--no-select")
    except _Stopped:
        if "already exists" not in at.log():
            raise


def _export(at: Drive) -> Exported:
    """The stack's last deployment, secrets still encrypted."""
    if at.files and at.files.is_usable and at.files.file.exists():
        return at.files.export()
    file = at.launch.attempt.work / "deployment.json"
    _plain(at, "stack", "export", "--file", str(file))
    exported: Exported = json.loads(file.read_text())
    return exported


def _keep_what_was_there(at: Drive, deployment: Deployment) -> None:
    """Stop before a stateful service is destroyed, or, on a way back, what the undone attempt did not make.

    The records of what ran before know nothing of a literal `pulumi up`; the engine's state does.
    """
    if at.job.stateful and not at.job.one_way:
        reason = "destroying a stateful service takes its data away: only a one-way release may"
        raise _Stopped(Result(outcome="refused", reason=reason))
    if at.job.undo_since is None:
        return
    older = [
        name_of(resource["urn"])
        for resource in deployment.get("resources", ())
        if is_physical(resource) and not made_since(resource, at.job.undo_since)
    ]
    if older:
        reason = f"it was there before, and stays: {', '.join(older)}"
        raise _Stopped(Result(outcome="refused", reason=reason))


def _update(at: Drive, deployment: Deployment) -> None:
    """Run the update; stops before it where what a preview shows speaks against it."""
    if not looks_ahead(at.job, deployment):
        return _operate(at, "up", *UP, "--skip-preview", *_message(at))
    guarded = is_guarded(at.job, deployment)
    if at.launch.program is None:
        plan = str(at.launch.attempt.work / "plan.json")
        _operate(at, *ARGUMENTS["preview"], *(("--save-plan", plan) if guarded else ()))
        if refusal := objection(at.job, deployment, read_story(at.launch.attempt.events), at.bounds):
            raise _Stopped(refusal)
        held = ("--plan", plan) if guarded else ()
        return _operate(at, "up", *UP, "--skip-preview", *_message(at), *held)
    look = Look(
        partial(objection, at.job, deployment, bounds=at.bounds),
        at.launch.attempt.events,
        at.launch.attempt.work / "refused",
    )
    return _operate(at, "up", *UP, *_message(at), *(("--strict",) if guarded else ()), look=look)


def _operate(at: Drive, *arguments: str, look: Look | None = None) -> None:
    """Run a command that runs the program; its events replace those of the run before."""
    at.launch.attempt.events.unlink(missing_ok=True)
    ended = run_with_program(at.launch, [*arguments, "--stack", at.job.stack], look)
    if look and look.refused.exists():
        raise _Stopped(Result.model_validate_json(look.refused.read_text()))
    _check(at, ended)


def _plain(at: Drive, *arguments: str) -> None:
    """Run a command that needs no program."""
    at.launch.attempt.events.unlink(missing_ok=True)
    _check(at, run_plain(at.launch, [*arguments, "--stack", at.job.stack]))


def _check(at: Drive, ended: Ended) -> None:
    """Return when a command has succeeded; else say how to go on."""
    if ended.code == 0:
        return
    if ended.fenced:
        reason = "this host had lost touch with the database, and ended its engine"
        raise _Stopped(Result(outcome="failed", reason=reason, fault="network"))
    if ended.killed:
        raise _Again
    log = at.log()
    if not ended.aborted and (locks := locks_in(log)):
        raise _Again(locks)
    story = read_story(at.launch.attempt.events)
    if ended.aborted:
        raise _Stopped(_ended("aborted", story, reason="interrupted on request"))
    fault = fault_of(story.errors, log)
    reason = reason_of(story.errors, log) + _whereabouts(at.job, fault, told=bool(story.errors))
    if ended.program < 0:
        fault, reason = "host", f"the program's process was killed by signal {-ended.program}; {reason}"
    elif ended.program:
        fault, reason = "release", f"the program ended its process with exit code {ended.program}; {reason}"
    if full := unwritable(at.folders):
        # Whatever was told: a program, or a tool, may say anything of what a full disk did to it.
        fault, reason = "disk", f"{full}; {reason}"
    reason += _doubt(at, unanswered(story))
    raise _Stopped(_ended("failed", story, reason=reason, fault=fault))


def _ended(outcome: Outcome, story: Story, reason: str, fault: Fault | None = None) -> Result:
    return Result(outcome=outcome, changes=story.changes, outputs=story.outputs, reason=reason, fault=fault)


def _whereabouts(job: Job, fault: Fault, *, told: bool) -> str:
    """Where a person looks who mends what an account, or its role, would not do."""
    if job.place is None or not told or fault not in ("credential", "quota", "throttle"):
        return ""
    who = f"role {job.place.role}" if job.place.role else "the credentials of this host"
    return f" (account {job.place.account}, {job.place.aws_region}; {who})"


def unanswered(story: Story) -> list[Step]:
    """The steps that failed for want of an answer: they may have been done."""
    lost = {error.urn for error in story.errors if is_lost(error.message)}
    return [(step, state) for step, state in story.failed if state.get("urn") in lost]


def _doubt(at: Drive, steps: list[Step]) -> str:
    """Note in the state what may have been done; in words, when that is impossible."""
    if not steps:
        return ""
    # What the failed run told is for a person to read.
    told = {path: path.read_bytes() for path in (at.launch.attempt.events, at.launch.attempt.log)}
    try:
        doubt(_export(at), steps, at.launch, lambda *arguments: _plain(at, *arguments))
    except (_Stopped, _Again, OSError, ValueError) as error:
        names = ", ".join(name_of(state["urn"]) for _, state in steps)
        return f"; {names} may be there all the same, and the state can't say so: {error}"
    finally:
        for path, text in told.items():
            path.unlink(missing_ok=True)
            path.write_bytes(text)
    return ""
