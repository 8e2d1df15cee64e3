"""A Deployer in memory: stacks, physical resources, locks, pending operations and attempts, as the engine has them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellwave.deploy.backend import BackendStack, Update
from cellwave.deploy.port import Job, Progress, Result
from cellwave.states import State

Parts = dict[str, str]
# What can't be changed in place.
REPLACING = frozenset({"bucket"})


class _Killed(Exception):
    """The engine was killed."""


class _Aborted(Exception):
    """The engine was interrupted."""


@dataclass
class _Watcher:
    """A run's settings and who looks on."""

    settings: dict[str, Any]
    progress: Callable[[Progress], None]
    aborted: Callable[[], bool]


@dataclass
class FakeLock:
    """A lock on a stack."""

    owner: str
    living: bool


@dataclass
class FakeStack:
    """A stack's state: recorded resources, when each was created, outputs, begun creates, and who holds it."""

    recorded: Parts = field(default_factory=dict)
    created: dict[str, float] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    pending: Parts = field(default_factory=dict)
    lock: FakeLock | None = None
    is_made: bool = False
    written_at: float = 0.0
    updates: list[Update] = field(default_factory=list)


@dataclass
class FakeCloud:
    """State backend and cloud in one. `kills` are the stacks whose engine dies next, in the middle."""

    stacks: dict[str, FakeStack] = field(default_factory=dict)
    there: dict[str, Parts] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    kills: set[str] = field(default_factory=set)
    attempts: dict[str, threading.Lock] = field(default_factory=dict)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def stack(self, name: str) -> FakeStack:
        """The stack, made when it is not there."""
        return self.stacks.setdefault(name, FakeStack())

    def note_update(self, job: Job, result: Result, *, by_hand: bool = False) -> None:
        """Keep in the history that an update has come to its end."""
        stack, now = self.stack(job.stack), time.time()
        stack.written_at = now
        update = Update(
            kind="destroy" if job.operation == "destroy" else "update",
            release=None if by_hand else job.release or "worktree",
            ended_at=float(int(now)),
            succeeded=result.outcome == "succeeded",
            changed=result.outcome != "succeeded" or result.changes.keys() != {"same"},
        )
        stack.updates.insert(0, update)

    def attempt(self, name: str) -> threading.Lock:
        """The lock of one attempt."""
        with self.mutex:
            return self.attempts.setdefault(name, threading.Lock())


class FakeBackend:
    """What a FakeCloud's state backend tells; all its stacks are the shop's."""

    def __init__(self, cloud: FakeCloud) -> None:
        self._cloud = cloud

    def stacks(self) -> list[BackendStack]:
        """See StateBackend."""
        return [
            BackendStack(
                project="shop",
                name=name,
                resources=len(stack.recorded) + 2 if stack.recorded else 0,
                written_at=stack.written_at,
                updates=tuple(stack.updates),
            )
            for name, stack in sorted(self._cloud.stacks.items())
            if stack.is_made
        ]

    def resources(self, stack: BackendStack) -> list[State]:
        """See StateBackend; that there are so many is all that is known of them."""
        return [{} for _ in range(stack.resources)]


class FakeDeployer:
    """Runs the shop's releases on a FakeCloud by reading their settings.json."""

    def __init__(self, cloud: FakeCloud) -> None:
        self._cloud = cloud

    def run(self, job: Job, *, progress: Callable[[Progress], None], aborted: Callable[[], bool]) -> Result:
        """Run the job once; the same attempt again gives the same result."""
        with self._cloud.attempt(job.attempt):
            if job.attempt not in self._cloud.results:
                if aborted():
                    return Result(outcome="aborted", reason="it was called off before it began")
                self._cloud.results[job.attempt] = self._run(job, progress, aborted)
            return self._cloud.results[job.attempt]

    def _run(self, job: Job, progress: Callable[[Progress], None], aborted: Callable[[], bool]) -> Result:
        stack = self._cloud.stack(job.stack)
        if job.operation == "preview" and not stack.is_made:
            return Result(outcome="failed", reason="there is no such stack yet", fault="unknown")
        if stack.lock and stack.lock.living:
            owner = stack.lock.owner
            return Result(outcome="locked", owner=owner, reason=f"the stack is locked by {owner}")
        if job.operation == "preview" and stack.pending:
            return Result(outcome="failed", reason="an earlier run left it half-changed", fault="unknown")
        stack.lock = None
        there = self._cloud.there.setdefault(job.stack, {})
        for kind, value in stack.pending.items():
            # A create that happened is adopted; what an update was changing is no longer known.
            if kind in there:
                stack.created.setdefault(kind, time.time())
                stack.recorded[kind] = value if kind not in stack.recorded else "unknown"
        stack.pending = {}
        settings = json.loads((Path(job.program) / "settings.json").read_text())
        wanted = {} if job.operation == "destroy" else _parts(job.stack, settings)
        refused = _elsewhere(job, settings) or _protected(job, stack, wanted)
        if refused:
            return refused
        if job.operation in ("preview", "refresh"):
            lost = tuple(_lost(stack, wanted)) if job.operation == "preview" else ()
            counts = _count(stack, wanted, job)
            return Result(outcome="succeeded", changes=counts, outputs=stack.outputs, lost=lost)
        try:
            result = self._apply(job, stack, wanted, _Watcher(settings, progress, aborted))
        except _Aborted:
            result = Result(outcome="aborted", reason="interrupted on request")
        except _Killed:
            stack.lock = FakeLock("killed", living=False)
            return self._run(job, progress, aborted)
        self._cloud.note_update(job, result)
        return result

    def _apply(
        self,
        job: Job,
        stack: FakeStack,
        wanted: Parts,
        watcher: _Watcher,
    ) -> Result:
        changes = _count(stack, wanted, job)
        there = self._cloud.there[job.stack]
        for done, kind in enumerate([*wanted, *(k for k in stack.recorded if k not in wanted)]):
            watcher.progress(Progress(resource=kind, operation="update", done=done))
            if kind not in wanted:
                there.pop(kind, None)
                del stack.recorded[kind]
                continue
            if stack.recorded.get(kind) != wanted[kind]:
                stack.pending[kind] = wanted[kind]
                there[kind] = wanted[kind]
                if job.stack in self._cloud.kills:
                    self._cloud.kills.discard(job.stack)
                    raise _Killed
                if kind not in stack.recorded or kind in REPLACING:
                    stack.created[kind] = time.time()
                stack.recorded[kind] = stack.pending.pop(kind)
            if kind == "bucket":
                if watcher.settings["broken"]:
                    return Result(
                        outcome="failed", changes={"create": 1}, reason="broken on purpose", fault="release"
                    )
                _pause(watcher.settings["pause"], watcher.aborted)
        stack.is_made = job.operation != "destroy"
        stack.outputs = {"bucket": wanted["bucket"], "version": watcher.settings["version"]} if wanted else {}
        return Result(outcome="succeeded", changes=changes, outputs=stack.outputs)


def _parts(stack: str, settings: dict[str, Any]) -> Parts:
    return {
        "bucket": f"{stack.replace('.', '-')}-{settings['bucket']}",
        "queue": str(settings["timeout"]),
        "parameter": settings["version"],
    } | ({"logs": "there"} if settings["logs"] else {})


def _count(stack: FakeStack, wanted: Parts, job: Job) -> dict[str, int]:
    """Changes by operation; the stack itself and its provider count too."""
    if job.operation == "destroy":
        return {"delete": len(stack.recorded) + 2} if stack.is_made else {}
    counts = {"same" if stack.is_made else "create": 2}
    for kind, value in wanted.items():
        old = stack.recorded.get(kind)
        change = "replace" if kind in REPLACING else "update"
        operation = "create" if old is None else "same" if old == value else change
        counts[operation] = counts.get(operation, 0) + 1
    return counts


def _elsewhere(job: Job, settings: dict[str, Any]) -> Result | None:
    if job.operation not in ("up", "preview") or not job.place or settings["region"] == job.place.aws_region:
        return None
    return Result(outcome="refused", reason=f"bucket is in {settings['region']}, not in {job.place.cell}")


def _protected(job: Job, stack: FakeStack, wanted: Parts) -> Result | None:
    lost = [k for k in _lost(stack, wanted) if job.undo_since is None or stack.created[k] < job.undo_since]
    older = [k for k in stack.recorded if job.undo_since is not None and stack.created[k] < job.undo_since]
    if job.operation == "destroy" and older:
        return Result(outcome="refused", reason=f"it was there before, and stays: {', '.join(older)}")
    if job.stateful and not job.one_way and job.operation in ("up", "preview", "destroy") and lost:
        return Result(
            outcome="refused", reason=f"it would replace {', '.join(lost)}; only a one-way release may"
        )
    if job.held_to is not None and (more := [k for k in lost if k not in job.held_to]):
        return Result(outcome="refused", reason=f"it would replace {', '.join(more)}: not shown before")
    return None


def _lost(stack: FakeStack, wanted: Parts) -> list[str]:
    """What would be replaced or deleted."""
    return [k for k, v in stack.recorded.items() if k not in wanted or (k in REPLACING and wanted[k] != v)]


def _pause(seconds: float, aborted: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if aborted():
            raise _Aborted
        time.sleep(0.01)
