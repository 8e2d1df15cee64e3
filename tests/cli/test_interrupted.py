"""Ctrl-C: a rollout that is followed goes on, and nothing else is ever taken for that."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cellwave.cli.here import here
from cellwave.project import Project
from cellwave.rollout.model import Note
from cellwave.rollout.presence import lock_of, take_lock
from cellwave.rollout.records import Records
from tests.cli.conftest import Run
from tests.rollout.states import put, with_head


def hearing() -> None:
    """In a child: hear SIGINT, even where whoever runs the tests does not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_rollout_that_was_followed_goes_on(project: Path, run: Run) -> None:
    """Ctrl-C ends the showing with 130, and says how to come back; the rollout is as it was and takes its next turn."""
    run("release", "build", "--version", "v1")
    target = here().target
    Project(project).make_home()
    records = Records(Project(project).database_url)
    lock = take_lock(lock_of(Project(project), target))  # this test is the worker
    assert lock is not None
    argv = [sys.executable, "-m", "cellwave.cli.start", "rollout", "start", "v1"]
    with (
        lock,
        subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hearing,  # noqa: PLW1509 - nothing else runs in this process
        ) as process,
    ):
        while not (row := records.rollout("v1-1")):
            assert process.poll() is None
            time.sleep(0.05)
        begun = with_head(records.state("v1-1"), turn=1)
        put(records, begun, notes=(Note(kind="wave", text="canary"),))
        assert process.stdout is not None
        assert "canary" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert "detached; v1-1 goes on. Come back with: cellwave rollout watch v1-1" in said
        assert "Traceback" not in said
        row = records.rollout("v1-1")
        assert row is not None
        assert row.head == begun.head
        put(records, with_head(begun, turn=2, outcome="done"))
    assert json.loads(run("rollout", "status", "--json").out)["status"] == "done"


@pytest.mark.parametrize("at", ["plan_for", "refuse_taken", "wake"])
def test_before_it_is_recorded_nothing_was_started(
    run: Run, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """It says so, and is not taken for a rollout that goes on."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    run("release", "build", "--version", "v1")
    monkeypatch.setattr(f"cellwave.usecases.rollouts.{at}", interrupted)
    monkeypatch.setattr("cellwave.usecases.rollouts.wake", interrupted)
    ran = run("rollout", "start", "v1")
    assert (ran.code, "interrupted: nothing was started" in ran.err) == (1, True), ran.err
    monkeypatch.setattr("cellwave.usecases.rollouts.keep_going", lambda _: None)
    assert json.loads(run("rollout", "list", "--json").out) == []


def test_other_commands_end_as_a_shell_expects(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """130, in words."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cellwave.usecases.surroundings.Surroundings.configuration", interrupted)
    ran = run("cells")
    assert (ran.code, ran.err.strip()) == (130, "interrupted")


@pytest.mark.parametrize(("command", "code"), [("rollout start v1", 1), ("cells", 130)])
def test_while_it_loads_there_is_no_traceback(project: Path, command: str, code: int) -> None:
    """Nothing of ours is there yet to catch it."""
    (project / "typer.py").write_text("raise KeyboardInterrupt")
    argv = [sys.executable, "-m", "cellwave.cli.start", *command.split()]
    ran = subprocess.run(argv, cwd=project, capture_output=True, text=True, check=False)
    assert (ran.returncode, "interrupted" in ran.stderr) == (code, True), ran.stderr
    assert "Traceback" not in ran.stderr
