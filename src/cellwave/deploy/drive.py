"""One attempt, start to end: free the stack, mend what an earlier run left, check, run the engine, tell the result."""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cellwave.deploy.attempt import Attempt
from cellwave.deploy.command import Ended, Launch, run_plain, run_with_program
from cellwave.deploy.events import Story, name_of, read_story
from cellwave.deploy.port import Job, Outcome, Result
from cellwave.deploy.reasons import clean, is_transient, reason_of
from cellwave.deploy.repair import Refused, mend
from cellwave.deploy.state import (
    Directory,
    Exported,
    StackLock,
    break_lock,
    directory_of,
    locks_in,
)

TRIES = 4  # a killed engine, a dead lock and a missing stack each cost one

ENGINE_ENVIRONMENT = {
    "PULUMI_DEBUG_COMMANDS": "true",  # makes --client and --event-log known
    "PULUMI_SKIP_UPDATE_CHECK": "true",
    # The stack's own encryption, as its state has it: no Pulumi.<stack>.yaml is needed.
    "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
}
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "up": ("up", "--yes", "--skip-preview", "--suppress-outputs", "--suppress-permalink=true"),
    "preview": ("preview", "--suppress-outputs", "--suppress-permalink=true"),
    "refresh": ("refresh", "--yes", "--skip-preview", "--suppress-outputs", "--suppress-permalink=true"),
    "destroy": ("destroy", "--yes", "--skip-preview", "--suppress-outputs", "--suppress-permalink=true"),
}


@dataclass(frozen=True)
class Task:
    """What a driver is told: the job, the engine's path and environment, the attempt's folder and held lock."""

    job: Job
    engine: str
    environment: Mapping[str, str]
    attempt: Attempt
    lock: int


@dataclass(frozen=True)
class Drive:
    """An attempt at work: its job, how to launch the engine, and the backend's directory if it is one."""

    job: Job
    launch: Launch
    directory: Directory | None

    def log(self) -> str:
        """What the engine printed so far."""
        return clean(self.launch.attempt.log.read_text(errors="replace"))


def drive(task: Task) -> Result:
    """Run the task's job; whatever goes wrong is in the result."""
    begun = time.monotonic()
    try:
        result = _run(_prepare(task))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = f"the disk is full: {error}" if full else f"{type(error).__name__}: {error}"
        result = Result(outcome="failed", reason=reason)
    except (Refused, YAMLError, ValueError, RuntimeError) as error:
        result = Result(outcome="failed", reason=str(error))
    return result.model_copy(update={"seconds": round(time.monotonic() - begun, 3)})


def _prepare(task: Task) -> Drive:
    task.attempt.begin()
    project, program = prepare_work(task.job, task.attempt.work)
    environment = {**task.environment, **ENGINE_ENVIRONMENT}
    if "PULUMI_DEBUG_PROVIDERS" in environment:
        # The provider runs already: looking for its plugin to download would take seconds.
        environment["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    launch = Launch(task.engine, environment, task.attempt, task.lock, program, Path(task.job.source))
    return Drive(task.job, launch, directory_of(environment, project, task.job.stack))


def prepare_work(job: Job, work: Path) -> tuple[str, Path]:
    """Give the engine a Pulumi.yaml (and the stack's settings) of its own; returns project name and program."""
    source = Path(job.program)
    file = next((f for f in (source / "Pulumi.yaml", source / "Pulumi.yml") if f.is_file()), None)
    if file is None:
        raise ValueError(f"there is no Pulumi.yaml in {source}")
    project: dict[str, Any] = YAML(typ="safe").load(file.read_text())
    if not isinstance(project, dict) or not isinstance(project.get("name"), str):
        raise ValueError(f"{file} names no project")
    program = (source / project.get("main", ".")).resolve()
    settings = source / project.pop("stackConfigDir", ".") / f"Pulumi.{job.stack}.yaml"
    (work / "Pulumi.yaml").write_text(json.dumps({**project, "main": str(program)}))
    # Settings that the engine wrote by itself hold no configuration, and may be of another backend's stack.
    if settings.is_file() and (YAML(typ="safe").load(settings.read_text()) or {}).get("config"):
        shutil.copy(settings, work)
    return project["name"], program


def _run(at: Drive) -> Result:
    for _ in range(TRIES):
        locked = _free(at, at.directory.locks() if at.directory else ())
        if locked:
            return locked
        missing = _ensure_stack(at)
        if missing:
            return missing
        mend(at.launch, at.job.stack, _export(at))
        plan: tuple[str, ...] = ()
        if at.job.stateful and not at.job.one_way:
            refused, plan = _protect(at)
            if refused:
                return refused
        ended = _operate(at, *ARGUMENTS[at.job.operation], *plan)
        if ended.killed:
            continue
        locks = locks_in(at.log()) if ended.code else ()
        if not locks:
            return _told(at, ended)
        locked = _free(at, locks)
        if locked:
            return locked
    return Result(outcome="failed", reason=f"the engine was killed {TRIES} times", transient=True)


def _operate(at: Drive, *arguments: str) -> Ended:
    """One run of the engine; its log and events replace those of the run before."""
    for old in (at.launch.attempt.log, at.launch.attempt.events):
        old.unlink(missing_ok=True)
    return run_with_program(at.launch, [*arguments, "--stack", at.job.stack])


def _free(at: Drive, locks: tuple[StackLock, ...]) -> Result | None:
    """Break dead owners' locks; a result when a living one (or one of another host) holds the stack."""
    living = [lock for lock in locks if not lock.is_dead]
    if living:
        owner = ", ".join(lock.owner for lock in living)
        return Result(outcome="locked", owner=owner, reason=f"the stack is locked by {owner}")
    for lock in locks:
        break_lock(lock)
    if at.directory:
        at.directory.tidy(crashed=bool(locks))
    if any(lock.file is None for lock in locks):
        run_plain(at.launch, ["cancel", "--yes", "--stack", at.job.stack])
    return None


def _ensure_stack(at: Drive) -> Result | None:
    """Make the stack when it is not there."""
    if at.directory and at.directory.is_usable and at.directory.has_stack():
        return None
    ended = run_plain(at.launch, ["stack", "init", "--no-select", "--stack", at.job.stack])
    log = at.log()
    if ended.code == 0 or "already exists" in log:
        return None
    return _failure(at, ended, Story())


def _export(at: Drive) -> Exported:
    """The stack's last deployment, secrets still encrypted."""
    if at.directory and at.directory.is_usable and at.directory.file.exists():
        return at.directory.export()
    file = at.launch.attempt.work / "deployment.json"
    ended = run_plain(at.launch, ["stack", "export", "--file", str(file), "--stack", at.job.stack])
    if ended.code:
        raise ValueError(reason_of((), at.log()))
    exported: Exported = json.loads(file.read_text())
    return exported


def _protect(at: Drive) -> tuple[Result | None, tuple[str, ...]]:
    """Refuse to replace or delete a stateful service's resource; else the plan that the update is held to."""
    if at.job.operation == "destroy":
        reason = "destroying a stateful service takes its data away: only a one-way release may"
        return Result(outcome="refused", reason=reason), ()
    if at.job.operation != "up":
        return None, ()
    plan = str(at.launch.attempt.work / "plan.json")
    for _ in range(TRIES):
        ended = _operate(at, *ARGUMENTS["preview"], "--save-plan", plan)
        if not ended.killed:
            break
    story = read_story(at.launch.attempt.events)
    if ended.code:
        return _failure(at, ended, story), ()
    if not story.destroyed:
        return None, ("--plan", plan)
    what = ", ".join(dict.fromkeys(f"{operation} {name_of(urn)}" for operation, urn in story.destroyed))
    reason = f"it would {what}, and with it what a stateful service keeps; only a one-way release may"
    return Result(outcome="refused", changes=story.changes, reason=reason), ()


def _told(at: Drive, ended: Ended) -> Result:
    story = read_story(at.launch.attempt.events)
    if ended.code:
        return _failure(at, ended, story)
    if not story.finished:
        reason = "the update was made, but its event log is not whole: is the disk full?"
        return Result(outcome="failed", changes=story.changes, reason=reason, transient=True)
    return Result(outcome="succeeded", changes=story.changes, outputs=story.outputs)


def _failure(at: Drive, ended: Ended, story: Story) -> Result:
    outcome: Outcome = "aborted" if ended.aborted else "failed"
    reason = "interrupted on request" if ended.aborted else reason_of(story.errors, at.log())
    return Result(
        outcome=outcome,
        changes=story.changes,
        outputs=story.outputs,
        reason=reason,
        transient=outcome == "failed" and is_transient(reason),
    )
