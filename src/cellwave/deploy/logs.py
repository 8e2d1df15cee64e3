"""What failed attempts left to read: the engine's and the program's output, whole but for secrets."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from cellwave.deploy.attempt import Attempt, attempts_in
from cellwave.deploy.events import read_story
from cellwave.deploy.reasons import clean
from cellwave.errors import BadInput, Fault
from cellwave.fleet.yamlfile import did_you_mean
from cellwave.frozen import Frozen
from cellwave.states import name_of
from cellwave.text import redact


class Said(Frozen):
    """An error of the engine's, whole; `resource` is "" when it belongs to none."""

    resource: str
    message: str


class AttemptLog(Frozen):
    """What an attempt left. `at` (epoch seconds) is when it began; `outcome` is "" while it has none, and `fault` whose
    a failure is (None: of none). `traceback` is of an exception of cellwave's own that nobody expected."""

    attempt: str
    stack: str
    operation: str
    release: str
    at: float
    outcome: str
    fault: Fault | None = None
    reason: str
    engine: str
    program: str
    diagnostics: tuple[Said, ...]
    traceback: str = ""


def newest_log(home: Path, stack: str) -> AttemptLog:
    """The newest attempt at a stack that left anything (one that succeeded leaves nothing); BadInput without one."""
    kept: dict[str, list[Attempt]] = {}
    for name, attempt in attempts_in(home):
        if _has_left(attempt):
            kept.setdefault(_stack(name, attempt), []).append(attempt)
    if stack not in kept:
        found = f"no attempt at {stack!r} left a log; one that succeeds leaves none"
        raise BadInput("logs", found, did_you_mean(stack, kept, "stacks with logs"))
    return _read(max(kept[stack], key=lambda attempt: (attempt.number, attempt.begun_at)))


def _stack(name: str, attempt: Attempt) -> str:
    """The stack of an attempt; by its name (rollout, stack, way, number) where nothing of it was begun."""
    job = attempt.job()
    return job.stack if job else next(iter(name.split(":")[1:]), "")


def _has_left(attempt: Attempt) -> bool:
    result, job = attempt.result(), attempt.job()
    if job and job.operation == "preview" and result is not None and result.outcome == "aborted":
        return False  # there was no time left for it: nothing went wrong
    return (
        attempt.log.exists()
        or attempt.traceback.exists()
        or (result is not None and result.outcome != "succeeded")
    )


def _read(attempt: Attempt) -> AttemptLog:
    job, result, name = attempt.job(), attempt.result(), unquote(attempt.folder.name)
    return AttemptLog(
        attempt=name,
        stack=_stack(name, attempt),
        operation=job.operation if job else "",
        release=job.release if job else "",
        at=attempt.begun_at or attempt.touched_at,
        outcome=result.outcome if result else "",
        fault=result.fault if result else None,
        reason=result.reason if result else "",
        engine=_text(attempt.log),
        program=_text(attempt.program_log),
        diagnostics=tuple(
            Said(resource=name_of(error.urn), message=redact(clean(error.message)).strip())
            for error in read_story(attempt.events).errors
        ),
        traceback=_text(attempt.traceback),
    )


def _text(file: Path) -> str:
    try:
        return redact(clean(file.read_text(errors="replace")))
    except FileNotFoundError:
        return ""
