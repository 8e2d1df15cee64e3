"""`cellwave logs`: the whole of what failed, safe to show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cellwave.project import Project
from cellwave.rollout.beats import enter, new_worker
from cellwave.rollout.loop import take_turns
from cellwave.rollout.model import Checked, first_state
from cellwave.rollout.records import Records
from cellwave.rollout.rows import Memory
from tests.cli.conftest import Run
from tests.deploy.test_logs import STACK, left
from tests.rollout.plans import plan


def test_logs_shows_all_that_was_left(project: Path, run: Run) -> None:
    """Engine, program and errors, uncut and indented; control characters spelt out; secrets hidden."""
    attempt = left(Project(project).home, "v1-1:us-west-2.ingest:forward:1", 1000)
    attempt.log.write_text("first [/x]\nred \x1b[31m\x07 token=hunter2\n" + "line\n" * 2000 + "the end")
    ran = run("logs", STACK)
    assert ran.code == 0, ran.err
    assert "first [/x]\n  red \\x1b[31m\\x07 token=[secret]\n" in ran.out
    assert ran.out.count("line\n") == 2000
    assert "the end" in ran.out
    assert "x" * 5000 + " cause of v1-1" in ran.out
    assert "program of v1-1" in ran.out
    assert "hunter2" not in ran.out
    shown = json.loads(run("logs", STACK, "--json").out)
    assert (shown["stack"], shown["outcome"], shown["at"]) == (STACK, "failed", 1000)
    assert shown["engine"].endswith("the end")


def test_logs_of_an_unknown_stack_names_the_known(project: Path, run: Run) -> None:
    """Exit code 2; nothing is made for the question."""
    home = Project(project).home
    assert run("logs", STACK).code == 2
    assert not home.exists()
    left(home, "a", 1000)
    ran = run("logs", "us-west-2.ingst")
    assert (ran.code, STACK in ran.err) == (2, True)


def test_logs_that_are_on_another_host_are_named_with_it(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who shares a database reads what an attempt left where it was made; an older one that is here says so."""
    home = Project(project)
    home.make_home()
    records = Records(home.database_url)
    records.create_rollout(first_state("v2-1", plan([["us-west-2"]])), "ann", "t", 1.0)
    memory = Memory()
    take_turns(records, memory, "t", 1.0)
    monkeypatch.setenv("CELLWAVE_HOST", "server")
    worker = new_worker(home.home, "t")
    monkeypatch.delenv("CELLWAVE_HOST")
    enter(records, worker)
    [look] = records.unplaced("t")
    records.begin(look.key, worker.id)
    records.finish(look, Checked(at=2.0, look=1), worker.id)
    take_turns(records, memory, "t", 2000.0)
    [deploy] = [asked for asked in records.unplaced("t") if asked.key != look.key]
    records.begin(deploy.key, worker.id)
    stack = "us-west-2.storage"
    ran = run("logs", stack)
    assert ran.code == 2
    assert "made on server" in ran.err
    assert f"`cellwave logs {stack}` on server" in ran.err
    left(home.home, "v1-1:here", deploy.at - 1, stack=stack)
    ran = run("logs", stack)
    assert (ran.code, "a newer attempt" in ran.err, "engine of v1-1" in ran.out) == (0, True, True)
    left(home.home, "v1-1:later", deploy.at + 1, stack=stack)
    assert run("logs", stack).err == ""
