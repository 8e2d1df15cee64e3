"""The worker process of a project and state backend, seen from outside: is it there, start it, stop it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from cellwave import __version__
from cellwave.errors import Unavailable
from cellwave.frozen import digest_of
from cellwave.project import Project
from cellwave.rollout.database import database_files
from cellwave.text import redact

POLL_SECONDS = 0.1
IDLE_SECONDS = 20
LEAVES_WITHIN_S = 30.0
READY = "ready"
LOG_BYTES = 10 * 2**20  # a longer log makes room for a new one; the one before is kept


def lock_of(project: Project, target: str) -> Path:
    """The lock file of the worker for a state backend: one backend's rollouts wait for no other's."""
    return project.home / f"worker-{digest_of(target)[:16]}.lock"


def fence_of(project: Project, whose: str) -> Path | None:
    """The file with the deadline of the engines of a worker (by its state backend) or a command (by its id); None where
    no other host could take its work."""
    if database_files(project.database_url):
        return None
    return project.home / f"worker-{digest_of(whose)[:16]}.until"


def take_lock(file: Path) -> IO[str] | None:
    """Become the worker that the file stands for, or None when another process is. A death gives the lock back."""
    lock = file.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def sign(lock: IO[str], word: str = "") -> None:
    """Write this process's id, its cellwave's version, and that it is READY, where others find it."""
    lock.truncate(0)
    lock.write(f"{os.getpid()} {__version__} {word}\n")
    lock.flush()


def worker_pid(file: Path) -> int | None:
    """The process id of the worker that holds a lock file (0: it is just starting); None when none does."""
    lock = take_lock(file)
    if lock is None:
        return int((file.read_text().split() or ["0"])[0])
    lock.close()
    return None


def ensure_worker(project: Project, environment: Mapping[str, str], target: str) -> bool:
    """Start a worker for the state backend in the background when none runs, and see that it lives; whether it did so.

    It gets the lock from here, so that there is never a second. Unavailable with its own words when it ends before it
    is ready.
    """
    project.make_home()
    file, log = lock_of(project, target), project.home / "worker.log"
    lock = take_lock(file)
    if lock is None:
        return False
    lock.truncate(0)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name("worker.log.1"))
    begun = log.stat().st_size if log.exists() else 0
    argv = [sys.executable, "-m", "cellwave.cli.main", "worker"]
    with lock, log.open("ab") as output:
        process = subprocess.Popen(
            [*argv, "--lock", str(lock.fileno()), "--idle-exit", str(IDLE_SECONDS)],
            cwd=project.root,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
    while READY not in file.read_text():
        if process.poll() is not None:
            with log.open("rb") as written:
                written.seek(begun)
                said = written.read().decode(errors="replace").strip().splitlines()
            raise Unavailable(f"the worker can't live: {redact(last_words(said))}", hint=f"see {log}")
        time.sleep(POLL_SECONDS / 2)
    return True


def last_words(said: Sequence[str]) -> str:
    """What a process that ended said about it: its error, else the last line of its traceback."""
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return errors[-1] if errors else said[-1].strip() if said else "it said nothing"


def workers(project: Project) -> list[int]:
    """The process ids of the project's workers, on whatever backend; 0 for one that is just starting."""
    pids = (worker_pid(file) for file in sorted(project.home.glob("worker-*.lock")))
    return [pid for pid in pids if pid is not None]


def end_stopped(project: Project, target: str) -> None:
    """End the home's worker if it was stopped, as by Ctrl-Z: it does nothing, and its lock keeps the next one away."""
    with contextlib.suppress(psutil.Error):
        if pid := worker_pid(lock_of(project, target)):
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_STOPPED:
                process.kill()
                process.wait(LEAVES_WITHIN_S)


def end_older(project: Project, target: str) -> None:
    """Let the home's worker leave after its turn if it is an older cellwave's; what it had running goes on, and is the
    next one's. Unavailable when it does not leave."""
    file = lock_of(project, target)
    pid = worker_pid(file)
    if not pid or not is_older(file.read_text()):
        return
    deadline = time.monotonic() + LEAVES_WITHIN_S
    for number in (signal.SIGTERM, signal.SIGCONT):  # it may be stopped
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    while worker_pid(file) == pid:
        if time.monotonic() > deadline:
            raise Unavailable(
                f"an older cellwave's worker does not leave: pid {pid}", hint="end it, and try again"
            )
        time.sleep(POLL_SECONDS)


def is_older(signed: str) -> bool:
    """Whether an older cellwave's worker signed so; the first ones wrote no version. Pure."""
    _, *rest = signed.split()
    return bool(rest) and _numbers(rest[0]) < _numbers(__version__)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall("[0-9]+", version)]


def works_elsewhere(pid: int) -> bool:
    """Whether a worker is known to work on another backend than the sandbox's."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return pid != 0 and "CELLWAVE_SANDBOX" not in psutil.Process(pid).environ()
    return False


def stop_worker(project: Project, *, only_of_sandbox: bool = False) -> bool:
    """Ask every worker of the project to leave (or only the sandbox's), and wait; whether none is left."""
    deadline = time.monotonic() + LEAVES_WITHIN_S
    asked = set()
    others = set()  # may go on
    while running := [pid for pid in workers(project) if pid not in others]:
        if time.monotonic() > deadline:
            return False
        for pid in filter(None, running):
            if only_of_sandbox and works_elsewhere(pid):
                others.add(pid)
            elif pid not in asked:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                asked.add(pid)
        time.sleep(POLL_SECONDS)
    return True
