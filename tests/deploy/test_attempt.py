"""Whose an attempt is, and what is left of it: its lock and its result, with no engine at work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cellwave.deploy.attempt import Attempt, open_attempt
from cellwave.deploy.port import Job, Result
from cellwave.processes import stop, this

JOB = Job(attempt="v2-1:a.app:forward:1", stack="a.app", operation="up", program="/app", source="/")
DONE = Result(outcome="succeeded")
# A driver whose engine is a program that says its process id and stays.
DRIVER = """
import sys
from cellwave.deploy.attempt import open_attempt
from cellwave.deploy.command import Launch, run_plain
from cellwave.deploy.deadlines import Deadlines
from pathlib import Path

attempt = open_attempt(Path(sys.argv[1]), sys.argv[2])
lock = attempt.try_lock()
attempt.work.mkdir()
run_plain(Launch(sys.argv[3], {}, attempt, lock, None, Deadlines()), ["up"])
"""


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    """One that nobody has begun."""
    return open_attempt(tmp_path, JOB.attempt)


def test_an_attempt_is_one_process_s_at_a_time(attempt: Attempt) -> None:
    """Until that lets it go."""
    lock = attempt.try_lock()
    assert lock is not None
    assert attempt.try_lock() is None
    assert attempt.runs
    os.close(lock)
    assert not attempt.runs


def test_an_engine_has_its_attempt_though_its_driver_is_killed(attempt: Attempt, tmp_path: Path) -> None:
    """Nobody runs another beside it: it counts by itself, also where no host of a program lives."""
    engine = tmp_path / "engine"
    engine.write_text("#!/bin/sh\necho $$ > pid.part && mv pid.part pid && exec sleep 600\n")
    engine.chmod(0o755)
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path), JOB.attempt, str(engine)])
    said = attempt.work / "pid"
    while not said.exists():
        assert driver.poll() is None
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    process = this(int(said.read_text()))
    held = attempt.runs
    stop(process)
    assert held
    assert not attempt.runs


def test_an_attempt_that_has_ended_has_its_result_and_no_other_has(attempt: Attempt, tmp_path: Path) -> None:
    """A result that was not wholly written is none."""
    assert attempt.result() is None
    (attempt.folder / "result.json").write_text(DONE.model_dump_json()[:-5])
    assert attempt.result() is None
    attempt.finish(DONE)
    assert attempt.result() == open_attempt(tmp_path, JOB.attempt).result() == DONE
    assert open_attempt(tmp_path, JOB.attempt.replace("1", "2")).result() is None


def test_a_run_finds_nothing_of_a_killed_one(attempt: Attempt) -> None:
    """What it had printed, half made, or been asked."""
    attempt.begin(JOB)
    left = [attempt.events, attempt.log, attempt.program_log, attempt.work / "plan.json"]
    for file in left:
        file.touch()
    attempt.ask_abort()
    attempt.begin(JOB)
    assert not [file for file in left if file.exists()]
    assert not attempt.abort_asked
    assert attempt.job() == JOB
