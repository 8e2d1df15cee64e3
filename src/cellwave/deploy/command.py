"""Run one command of the engine, the program served by a fork of this (warm) process.

The engine leads a process group of its own and prints into a file, so it goes on when its driver is killed. A pipe
that only the engine and its plugins hold open for writing tells driver and program when it is gone.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import psutil

from cellwave.deploy.attempt import ENGINE, PREPARING, Attempt
from cellwave.deploy.deadlines import Deadlines
from cellwave.deploy.fence import KILL_AFTER, is_over, stand_guard
from cellwave.deploy.hosts import Look, Program, hosting
from cellwave.processes import stop, this

POLL = 0.1  # seconds between two looks at whether an abort was asked for
SIGN_EVERY = 1.0  # seconds between two signs of life


@dataclass(frozen=True)
class Launch:
    """What a command needs: the engine, its environment, the attempt's folder and the program to serve (None: the
    engine runs it by a language host of its own)."""

    engine: str
    environment: Mapping[str, str]
    attempt: Attempt
    lock: int
    program: Program | None
    deadlines: Deadlines
    fence: str = ""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: killed by that signal), whether it was interrupted by us, and
    whether that was because its time here is over (`fence`); then it may not even have begun. `program` is the exit
    code of the program's own process when that ended before its engine had done with it (0: it did not)."""

    code: int
    aborted: bool = False
    fenced: bool = False
    program: int = 0

    @property
    def killed(self) -> bool:
        """Whether somebody else killed the engine."""
        return self.code < 0 and not self.aborted


NOT_BEGUN = Ended(code=1, aborted=True, fenced=True)


def run_with_program(launch: Launch, arguments: Sequence[str], look: Look | None = None) -> Ended:
    """Run a command of the engine that runs the program; its event log and output are in the attempt's folder.

    `look` is for an `up` that previews first, of a program that we serve.
    """
    if is_over(launch.fence):
        return NOT_BEGUN
    events = str(launch.attempt.events)
    if launch.program is None:
        return run_plain(launch, [*arguments, "--event-log", events])
    gone, alive = os.pipe()
    os.set_inheritable(alive, True)
    try:
        with hosting(launch.program, look, gone, alive) as hosts:
            told = events if look is None else f"tcp://{hosts.address}"
            served = [*arguments, f"--client={hosts.address}", "--event-log", told]
            engine = _start(launch, served, (alive, launch.lock))
            os.close(alive)
            return replace(_guarded(engine, gone, launch, arguments[0]), program=hosts.ended())
    finally:
        os.close(gone)


def run_plain(launch: Launch, arguments: Sequence[str]) -> Ended:
    """Run a command of the engine that needs no program (`stack init`, `stack import`)."""
    if is_over(launch.fence):
        return NOT_BEGUN
    gone, alive = os.pipe()
    os.set_inheritable(alive, True)
    engine = _start(launch, arguments, (alive, launch.lock))
    os.close(alive)
    try:
        return _guarded(engine, gone, launch, arguments[0])
    finally:
        os.close(gone)


def _guarded(engine: subprocess.Popen[bytes], gone: int, launch: Launch, command: str) -> Ended:
    """Wait for the engine's end; where it has a time, it ends then also if this process is frozen or killed."""
    if not launch.fence:
        return _wait(engine, gone, launch, command)
    guard = stand_guard(launch.fence, this(engine.pid), gone)
    try:
        return _wait(engine, gone, launch, command)
    finally:
        os.kill(guard, signal.SIGKILL)
        os.waitpid(guard, 0)


def _start(launch: Launch, arguments: Sequence[str], inherit: Sequence[int]) -> subprocess.Popen[bytes]:
    command = [launch.engine, *arguments, "--non-interactive", "--color=never"]
    with launch.attempt.log.open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=launch.attempt.work,
            env=dict(launch.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=tuple(inherit),
        )


def _wait(engine: subprocess.Popen[bytes], gone: int, launch: Launch, command: str) -> Ended:
    """Wait for the engine's end; interrupts it when an abort is asked for, and twice when it takes too long.

    When its time here is over, it is ended soon.
    """
    attempt, limits = launch.attempt, launch.deadlines
    interrupted_at, interrupts, signed, fenced = 0.0, 0, 0.0, False
    attempt.give_sign(ENGINE, command)
    while engine.poll() is None:
        ready, _, _ = select.select([gone], [], [], POLL)
        if ready:
            engine.wait()
            break
        now = time.monotonic()
        if now - signed > SIGN_EVERY:
            attempt.give_sign()
            signed = now
        fenced = fenced or is_over(launch.fence)
        waits = (0.0, KILL_AFTER) if fenced else (0.0, limits.grace, limits.kill_after)
        due = waits[min(interrupts, len(waits) - 1)]
        if (interrupts or fenced or attempt.abort_asked) and now - interrupted_at >= due:
            _interrupt(engine, by_force=interrupts >= len(waits) - 1)
            interrupted_at, interrupts = now, interrupts + 1
    attempt.give_sign(PREPARING)
    fenced = fenced or is_over(launch.fence, KILL_AFTER)  # its guard may have ended it
    return Ended(engine.returncode, aborted=interrupts > 0, fenced=fenced)


def _interrupt(engine: subprocess.Popen[bytes], *, by_force: bool) -> None:
    """Ask an engine to end, or end it with all of its session."""
    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
        if by_force:
            stop(this(engine.pid), grace_s=0.0)
        else:
            os.killpg(engine.pid, signal.SIGINT)
