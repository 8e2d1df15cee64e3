"""Detached processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from cellwave.processes import Proc, alive, spawn, stop

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
# A leader with a child that ignores SIGTERM; it prints the child's pid.
PARENT = """
import signal, subprocess, sys, time
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def start_family(log: Path) -> tuple[Proc, psutil.Process]:
    """A leader and its child."""
    leader = spawn([sys.executable, "-c", PARENT], os.environ, log)
    while not (text := log.read_text() if log.exists() else "").endswith("\n"):
        assert alive(leader), text
    return leader, psutil.Process(int(text))


def gone(process: psutil.Process) -> bool:
    """Whether it ended, collected by its parent or not yet."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_stopped_process_takes_its_children_along(tmp_path: Path) -> None:
    """After `stop` nothing of the session is left, even what ignores SIGTERM."""
    leader, child = start_family(tmp_path / "log")
    stop(leader, grace_s=5)
    assert not alive(leader)
    assert gone(child)


def test_children_of_a_killed_leader_are_found(tmp_path: Path) -> None:
    """A leader that was killed -9 leaves children; `stop` still ends them."""
    leader, child = start_family(tmp_path / "log")
    os.kill(leader.pid, signal.SIGKILL)
    while alive(leader):
        pass
    assert not gone(child)
    stop(leader, grace_s=5)
    assert gone(child)


def test_another_process_with_the_same_pid_is_left_alone() -> None:
    """A pid that was given to someone else counts as dead, and is not stopped."""
    with subprocess.Popen(SLEEP, start_new_session=True) as stranger:
        stale = Proc(pid=stranger.pid, started=psutil.Process(stranger.pid).create_time() - 3600)
        assert not alive(stale)
        stop(stale, grace_s=1)
        assert stranger.poll() is None
        stranger.kill()
