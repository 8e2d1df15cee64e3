"""The one worker process of a project, seen from outside: is it there, start it, stop it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import IO

import psutil

from cellwave.project import Project

POLL_SECONDS = 0.1
IDLE_SECONDS = 20


def take_lock(project: Project) -> IO[str] | None:
    """Become the worker of this project, or None when another process is. The kernel gives the lock back at death."""
    project.make_home()
    file = (project.home / "worker.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def sign(lock: IO[str]) -> None:
    """Write this process's id where `worker_pid` finds it."""
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()


def worker_pid(project: Project) -> int | None:
    """The running worker's process id (0: it is just starting); None when none runs."""
    lock = take_lock(project)
    if lock is None:
        return int((project.home / "worker.lock").read_text().strip() or 0)
    lock.close()
    return None


def ensure_worker(project: Project, environment: Mapping[str, str]) -> None:
    """Start a worker in the background when none runs. It gets the lock from here, so that there is never a second."""
    lock = take_lock(project)
    if lock is None:
        return
    lock.truncate(0)
    argv = [sys.executable, "-m", "cellwave.cli.main", "worker"]
    with lock, (project.home / "worker.log").open("ab") as log:
        subprocess.Popen(
            [*argv, "--lock", str(lock.fileno()), "--idle-exit", str(IDLE_SECONDS)],
            cwd=project.root,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )


def stop_worker(project: Project, seconds: float = 30.0, *, only_of_sandbox: bool = False) -> bool:
    """Ask the worker to leave (or only one that works on the sandbox), and wait; whether none is left."""
    deadline = time.monotonic() + seconds
    asked = None
    while (pid := worker_pid(project)) is not None:
        if time.monotonic() > deadline:
            return False
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if pid and only_of_sandbox and "CELLWAVE_SANDBOX" not in psutil.Process(pid).environ():
                return False
            if pid and pid != asked:
                os.kill(pid, signal.SIGTERM)
                asked = pid
        time.sleep(POLL_SECONDS)
    return True
