"""Detached processes that outlive their starter, recognised later by pid and start, never by pid alone.

A start is told in clock ticks since a boot, which no correction of the clock changes; by the clock only where there is
no /proc, or where an older version wrote it down.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from cellwave.frozen import Frozen

SAME_START_S = 2.0  # of starts told by the clock, which may be corrected
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Proc(Frozen):
    """A process: its pid, when it started by the clock (seconds since the epoch), and `born`, the same for certain: the
    boot and the clock ticks since then ("" where that can't be known)."""

    pid: int
    started: float
    born: str = ""

    @property
    def text(self) -> str:
        """`<pid>:<start>`, as `written` reads it."""
        return f"{self.pid}:{self.born or f'{self.started:.2f}'}"


def written(text: str) -> Proc:
    """The process that a `Proc.text` names; ValueError for any other text."""
    pid, _, start = text.partition(":")
    if "/" in start:
        return Proc(pid=int(pid), started=0.0, born=start)
    return Proc(pid=int(pid), started=float(start))


def this(pid: int) -> Proc:
    """The process that has this pid now; psutil.NoSuchProcess when none has."""
    return Proc(pid=pid, started=psutil.Process(pid).create_time(), born=_born(pid))


def _born(pid: int) -> str:
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        ticks = stat.rpartition(")")[2].split()[19]  # a name may hold anything, parentheses too
        return f"{BOOT.read_text().strip()}/{ticks}"
    return ""


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
    return this(pid)


def alive(proc: Proc) -> bool:
    """Whether that very process runs: another one that was given its pid doesn't count, nor does a zombie."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(proc.pid, os.WNOHANG)
    found = _find(proc)
    return found is not None and _running(found)


def wake(proc: Proc) -> bool:
    """Let the process go on if it is stopped (by SIGSTOP, say); whether it was."""
    found = _find(proc)
    if found is None or found.status() != psutil.STATUS_STOPPED:
        return False
    _signal(found, signal.SIGCONT)
    return True


def stop(proc: Proc, *, grace_s: float = 10.0) -> None:
    """End the process and everything of its session: SIGTERM to the leader, after `grace_s` SIGKILL to the rest.

    Does nothing when it is gone and its pid is another's.
    """
    leader = _find(proc)
    if leader is not None:
        _signal(leader, signal.SIGTERM)
        _await_end([leader], grace_s)
    rest = _session(proc)
    for process in rest:
        _signal(process, signal.SIGKILL)
    _await_end(rest, grace_s)
    alive(proc)


def holders(file: Path) -> list[psutil.Process]:
    """The other processes that have a file open; those of other people can't be seen."""
    path, found = str(file.resolve()), []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and any(opened.path == path for opened in process.open_files()):
                found.append(process)
    return found


def end_holders(file: Path, *, within_s: float = 10.0) -> bool:
    """Kill the other processes that have a file open, with all of their sessions; whether none is left.

    Stopped ones too. This process's own session is spared.
    """
    deadline = time.monotonic() + within_s
    while found := holders(file):
        if time.monotonic() > deadline:
            return False
        sessions = {_session_id(process.pid) for process in found} - {os.getsid(0), -1}
        doomed = [*found, *(p for p in psutil.process_iter() if _session_id(p.pid) in sessions)]
        for process in doomed:
            _signal(process, signal.SIGKILL)
        _await_end(doomed, within_s)
    return True


def _find(proc: Proc) -> psutil.Process | None:
    """That very process, a zombie too; None when it is gone or its pid is another's."""
    try:
        found, now = psutil.Process(proc.pid), this(proc.pid)
        if proc.born:
            return found if now.born == proc.born else None
        return found if abs(now.started - proc.started) < SAME_START_S else None
    except psutil.NoSuchProcess:
        return None


def _session(proc: Proc) -> list[psutil.Process]:
    """What runs in the session that `proc` leads or led.

    A session's id is its leader's pid, and no new process gets that pid while the session has members: so when the
    pid now is another process, the session is that one's.
    """
    if psutil.pid_exists(proc.pid) and _find(proc) is None:
        return []
    return [p for p in psutil.process_iter() if _session_id(p.pid) == proc.pid and _running(p)]


def _session_id(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1


def _running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _await_end(processes: list[psutil.Process], within_s: float) -> None:
    """Not psutil.wait_procs: that waits for zombies, which a careless parent or init may never collect."""
    deadline = time.monotonic() + within_s
    while any(_running(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.02)
