"""A worker that can't live is told of at once, and a command never waits for another backend's."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cellwave.project import Project
from cellwave.rollout.records import Records, RolloutRow
from cellwave.rollout.state import first_state
from tests.cli.conftest import Run
from tests.rollout.plans import plan


@pytest.fixture
def records(project: Path) -> Records:
    """The project's database."""
    Project(project).make_home()
    return Records(Project(project).database_url)


def recorded(records: Records, target: str) -> None:
    """An unfinished rollout on a state backend."""
    state = first_state("v9-1", plan([["eu-west-1"]]))
    records.create_rollout(
        RolloutRow(id="v9-1", created=time.time(), actor="ann", target=target, state=state)
    )


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ('raise RuntimeError("broken on purpose")', "broken on purpose"),
        ("import os; os._exit(1)", "it said nothing"),
    ],
)
def test_a_worker_that_cant_live_is_told_with_its_reason_and_nothing_is_recorded(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch, module: str, why: str
) -> None:
    """The command that needs it ends with 2, whatever is wrong in the worker's surroundings."""
    run("release", "build", "--version", "v1")
    (project / "broken").mkdir()
    (project / "broken" / "dbos.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(project / "broken"))
    ran = run("rollout", "start", "v1")
    assert ran.code == 2
    assert f"the worker can't live: {why}" in ran.err.replace("RuntimeError: ", "")
    records = Records(Project(project).database_url)
    assert records.rollouts() == []
    assert records.leases() == {}


@pytest.mark.parametrize("command", ["pause", "approve", "resume", "rollback", "watch"])
def test_a_rollout_of_another_backend_is_not_commanded_from_here(
    project: Path, run: Run, records: Records, command: str
) -> None:
    """The command names both, and is not kept for somebody who would carry it out elsewhere."""
    recorded(records, "s3://production")
    ran = run("rollout", command, "v9-1")
    assert ran.code == 2
    assert "s3://production" in ran.err
    assert os.environ["PULUMI_BACKEND_URL"] in ran.err
    assert records.undelivered() == []


def test_an_unknown_rollout_has_no_journal(project: Path, run: Run, records: Records) -> None:
    """It is bad input, and the known ones are named."""
    recorded(records, "s3://production")
    ran = run("journal", "show", "v9-11")
    assert ran.code == 2
    assert "did you mean 'v9-1'?" in ran.err
    assert run("journal", "show", "v9-1").code == 0
