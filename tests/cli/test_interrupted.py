"""Ctrl-C: a rollout that is followed goes on, and nothing else is ever taken for that."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cellwave.cli.here import here
from cellwave.project import Project
from cellwave.rollout.beats import enter, new_worker
from cellwave.rollout.loop import take_turns
from cellwave.rollout.model import Deploy, Deployed, Failure, Note
from cellwave.rollout.presence import lock_of, take_lock
from cellwave.rollout.records import Records
from cellwave.rollout.rows import Memory
from tests.cli.conftest import Run
from tests.rollout.states import put, with_head


@contextmanager
def followed(project: Path, name: str, *command: str) -> Iterator[tuple[Records, subprocess.Popen[str]]]:
    """A command that has recorded a rollout of that name and follows it; this test is the worker."""
    Project(project).make_home()
    records = Records(Project(project).database_url)
    lock = take_lock(lock_of(Project(project), here().target))
    assert lock is not None
    with (
        lock,
        subprocess.Popen(
            [sys.executable, "-m", "cellwave.cli.start", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        while not records.rollout(name):
            assert process.poll() is None
            time.sleep(0.05)
        yield records, process


@pytest.mark.parametrize(
    ("name", "command"), [("v1-1", ("rollout", "start", "v1")), ("up-us-west-2-1", ("up", "us-west-2"))]
)
def test_a_rollout_that_was_followed_goes_on(
    project: Path, run: Run, name: str, command: tuple[str, ...]
) -> None:
    """Ctrl-C ends the showing with 130, and says how to come back; the rollout is as it was and takes its next turn."""
    run("release", "build", "--version", "v1")
    with followed(project, name, *command) as (records, process):
        begun = with_head(records.state(name), turn=1)
        put(records, begun, notes=(Note(kind="wave", text="canary"),))
        assert process.stdout is not None
        assert "canary" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert f"detached; {name} goes on. Come back with: cellwave rollout watch {name}" in said
        assert f"take it back with: cellwave rollout rollback {name}" in said
        assert "Traceback" not in said
        row = records.rollout(name)
        assert row is not None
        assert row.head == begun.head
        put(records, with_head(begun, turn=2, outcome="done"))
    assert json.loads(run("rollout", "status", name, "--json").out)["status"] == "done"


@pytest.mark.parametrize("again", [False, True])
def test_an_up_that_is_to_go_back_on_ctrl_c_does(project: Path, again: bool) -> None:
    """The rollout is told to go back, and is followed to its end: 3. A second Ctrl-C detaches, and it goes on."""
    with followed(project, "up-us-west-2-1", "up", "us-west-2", "--rollback-on-interrupt") as (
        records,
        process,
    ):
        target, memory = here().target, Memory()
        take_turns(records, memory, target, time.time())
        assert process.stdout is not None
        while "deploying" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        while not records.state("up-us-west-2-1").head.condemned:
            take_turns(records, memory, target, time.time())
            time.sleep(0.05)
        while again and "rolling back" not in process.stdout.readline():
            pass
        if again:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        [deploy] = records.unplaced(target)
        assert isinstance(deploy.effect, Deploy)
        off = Failure(reason="called off before it began", changed=False)
        told = Deployed(at=time.time(), deployment="us-west-2.storage", attempt=1, back=False, result=off)
        me = new_worker(Project(project).home, target)
        enter(records, me)
        assert records.begin(deploy.key, me.id)
        records.finish(deploy, told, me.id)
        take_turns(records, memory, target, time.time())
        _, said = process.communicate(timeout=60)
        assert process.returncode == (130 if again else 3), said
    assert "up-us-west-2-1: rollback taken" in said
    row = records.rollout("up-us-west-2-1")
    assert row is not None
    assert (row.head.outcome, records.leases()) == ("rolled_back", {})


@pytest.mark.parametrize(
    ("at", "command"),
    [
        ("plan_for", "rollout start v1"),
        ("refuse_taken", "rollout start v1"),
        ("wake", "rollout start v1"),
        ("plan_up", "up us-west-2"),
        ("wake", "up us-west-2"),
    ],
)
def test_before_it_is_recorded_nothing_was_started(
    run: Run, monkeypatch: pytest.MonkeyPatch, at: str, command: str
) -> None:
    """It says so, and is not taken for a rollout that goes on."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    run("release", "build", "--version", "v1")
    monkeypatch.setattr(f"cellwave.usecases.rollouts.{at}", interrupted)
    monkeypatch.setattr("cellwave.usecases.rollouts.wake", interrupted)
    ran = run(*command.split())
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
