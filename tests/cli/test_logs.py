"""`cellwave logs`: the whole of what failed, safe to show."""

from __future__ import annotations

import json
from pathlib import Path

from cellwave.project import Project
from tests.cli.conftest import Run
from tests.deploy.test_logs import STACK, left


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
