"""Detached processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cellwave.processes import Proc, alive, end_holders, holders, spawn, stop, this, written

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


@pytest.mark.parametrize("step", [3, 7200, -7200])
def test_a_corrected_clock_makes_no_process_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    """The boot's time by the clock moves along with a correction, and every start that is counted from it."""
    process = spawn(SLEEP, os.environ, tmp_path / "log")
    boot = psutil.boot_time() + step
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot)
    assert abs(psutil.Process(process.pid).create_time() - process.started) > 2, "the clock was not corrected"
    assert alive(process)
    assert alive(written(process.text))
    stop(process)
    assert not alive(process)


def test_what_an_older_version_wrote_is_still_read() -> None:
    """A start by the clock alone, in a file or in the name of an owner."""
    started = psutil.Process().create_time()
    assert alive(Proc(pid=os.getpid(), started=started))
    assert alive(written(f"{os.getpid()}:{started:.2f}"))
    assert not alive(written(f"{os.getpid()}:{started - 60:.2f}"))
    assert not alive(Proc.model_validate({"pid": os.getpid(), "started": started - 60}))


def test_the_same_ticks_after_another_boot_are_another_process() -> None:
    """Nothing lives through a boot."""
    me = this(os.getpid())
    assert alive(me)
    assert not alive(me.model_copy(update={"born": "another-boot/" + me.born.partition("/")[2]}))


def test_what_has_a_file_open_is_ended_with_its_session_even_when_stopped(tmp_path: Path) -> None:
    """The leader's child has nothing open; a process that has it open in this session is spared with this session."""
    log = tmp_path / "log"
    leader, child = start_family(log)
    os.kill(leader.pid, signal.SIGSTOP)
    child.suspend()
    assert leader.pid in {process.pid for process in holders(log)}
    with log.open():
        assert os.getpid() not in {process.pid for process in holders(log)}
        assert end_holders(log)
    assert not alive(leader)
    assert gone(child)
    assert holders(log) == []
