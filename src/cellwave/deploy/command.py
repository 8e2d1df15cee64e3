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
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from cellwave.deploy.attempt import ENGINE, PREPARING, Attempt
from cellwave.deploy.deadlines import Deadlines
from cellwave.deploy.fence import KILL_AFTER, end_with_parent, is_over
from cellwave.processes import stop, this
from cellwave.toolchain.language_host import ProgramServer, serve

POLL = 0.1  # seconds between two looks at whether an abort was asked for
SIGN_EVERY = 1.0  # seconds between two signs of life


@dataclass(frozen=True)
class Launch:
    """What a command needs: the engine, its environment, the attempt's folder and the program to serve.

    `program` is None when the engine runs it by a language host of its own, `virtualenv` when it has no packages of
    its own.
    """

    engine: str
    environment: Mapping[str, str]
    attempt: Attempt
    lock: int
    program: Path | None
    virtualenv: Path | None
    source: Path
    deadlines: Deadlines
    fence: str = ""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: killed by that signal), whether it was interrupted by us, and
    whether that was because its time here is over (`fence`); then it may not even have begun."""

    code: int
    aborted: bool = False
    fenced: bool = False

    @property
    def killed(self) -> bool:
        """Whether somebody else killed the engine."""
        return self.code < 0 and not self.aborted


NOT_BEGUN = Ended(code=1, aborted=True, fenced=True)


def run_with_program(launch: Launch, arguments: Sequence[str]) -> Ended:
    """Run a command of the engine that runs the program; its event log and output are in the attempt's folder."""
    if is_over(launch.fence):
        return NOT_BEGUN
    told = ["--event-log", str(launch.attempt.events)]
    if launch.program is None:
        return run_plain(launch, [*arguments, *told])
    gone, alive = os.pipe()
    os.set_inheritable(alive, True)
    host, port = _fork_host(launch, launch.program, gone, alive)
    try:
        engine = _start(
            launch,
            [*arguments, f"--client=127.0.0.1:{port}", *told],
            (alive, launch.lock),
        )
        os.close(alive)
        return _wait(engine, gone, launch)
    finally:
        os.close(gone)
        _end_host(host)


def run_plain(launch: Launch, arguments: Sequence[str]) -> Ended:
    """Run a command of the engine that needs no program (`stack init`, `stack import`)."""
    if is_over(launch.fence):
        return NOT_BEGUN
    gone, alive = os.pipe()
    os.set_inheritable(alive, True)
    engine = _start(launch, arguments, (alive, launch.lock))
    os.close(alive)
    try:
        return _wait(engine, gone, launch)
    finally:
        os.close(gone)


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
            # Nobody else would end it in time. (A driver has one thread.)
            preexec_fn=end_with_parent if launch.fence else None,  # noqa: PLW1509
        )


def _wait(engine: subprocess.Popen[bytes], gone: int, launch: Launch) -> Ended:
    """Wait for the engine's end; interrupts it when an abort is asked for, and twice when it takes too long.

    When its time here is over, it is ended soon.
    """
    attempt, limits = launch.attempt, launch.deadlines
    interrupted_at, interrupts, signed, fenced = 0.0, 0, 0.0, False
    attempt.give_sign(ENGINE)
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
    return Ended(engine.returncode, aborted=interrupts > 0, fenced=fenced)


def _interrupt(engine: subprocess.Popen[bytes], *, by_force: bool) -> None:
    """Ask an engine to end, or end it with all of its session."""
    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
        if by_force:
            stop(this(engine.pid), grace_s=0.0)
        else:
            os.killpg(engine.pid, signal.SIGINT)


def _fork_host(launch: Launch, program: Path, gone: int, alive: int) -> tuple[int, int]:
    """Fork a process that serves the program; returns its pid and its port."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            # The lock stays open: what holds it is found, and ended, when the attempt is over its time.
            for descriptor in (told, alive):
                os.close(descriptor)
            _be_host(launch, program, gone, tell)
        finally:
            os._exit(1)
    os.close(tell)
    with os.fdopen(told) as answer:
        port = answer.read()
    if not port:
        raise RuntimeError("the program's host did not start")
    return pid, int(port)


def _be_host(launch: Launch, program: Path, gone: int, tell: int) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(launch.environment)
    output = os.open(launch.attempt.program_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    folder = program if program.is_dir() else program.parent
    os.chdir(folder)
    host = ProgramServer(root=launch.source, program=program, virtualenv=launch.virtualenv)
    _server, port = serve(host)
    os.write(tell, str(port).encode())
    os.close(tell)
    # Nobody writes: the end of the file means that the engine and its plugins are gone.
    os.read(gone, 1)
    sys.stdout.flush()
    os._exit(0)


def _end_host(pid: int) -> None:
    """End the host, and whatever its program has left running: it would keep the attempt's lock."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
