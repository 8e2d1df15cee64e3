"""Detached processes that outlive their starter, recognised later by pid and start time, never by pid alone."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from cellwave.frozen import Frozen

# Start times come from the boot time (whole seconds, may be corrected once) plus ticks since boot.
SAME_START_S = 2.0


class Proc(Frozen):
    """A process that leads its own session. `started` is its creation time (seconds since the epoch)."""

    pid: int
    started: float


def spawn(argv: Sequence[str], env: Mapping[str, str], log: Path) -> Proc:
    """Start `argv` in a session of its own, without a terminal, its output appended to `log`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        argv[0],
        list(argv),
        dict(env),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    return Proc(pid=pid, started=psutil.Process(pid).create_time())


def alive(proc: Proc) -> bool:
    """Whether that very process runs: another one that was given its pid doesn't count, nor does a zombie."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(proc.pid, os.WNOHANG)
    return _is_same(proc)


def stop(proc: Proc, *, grace_s: float = 10.0) -> None:
    """End the process and everything of its session: SIGTERM to the leader, after `grace_s` SIGKILL to the rest.

    Does nothing when it is gone and its pid is another's.
    """
    if _is_same(proc):
        leader = psutil.Process(proc.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            leader.send_signal(signal.SIGTERM)
        psutil.wait_procs([leader], timeout=grace_s)
    rest = _session(proc)
    for process in rest:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(rest, timeout=grace_s)


def _is_same(proc: Proc) -> bool:
    try:
        found = psutil.Process(proc.pid)
        return (
            abs(found.create_time() - proc.started) < SAME_START_S and found.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.NoSuchProcess:
        return False


def _session(proc: Proc) -> list[psutil.Process]:
    """What lives in the session that `proc` leads or led.

    A session's id is its leader's pid, and no new process gets that pid while the session has members: so when the
    pid now is another process, the session is that one's.
    """
    if psutil.pid_exists(proc.pid) and not _is_same(proc):
        return []
    return [p for p in psutil.process_iter() if _session_id(p.pid) == proc.pid]


def _session_id(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1
