"""What a failed attempt leaves to read is all there."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import pytest

from cellwave.deploy.attempt import Attempt, open_attempt
from cellwave.deploy.logs import newest_log
from cellwave.deploy.port import Job, Operation, Result
from cellwave.errors import BadInput
from cellwave.project import Project
from tests.deploy.world import World, job, release
from tests.deploy.worlds import RealWorld

STACK = "us-west-2.ingest"


def left(
    home: Path,
    name: str,
    at: float,
    outcome: str = "failed",
    stack: str = STACK,
    *,
    operation: Operation = "up",
) -> Attempt:
    """An attempt that began at `at`, with all its files."""
    attempt = open_attempt(home, name)
    job = Job(attempt=name, stack=stack, operation=operation, program="/p", source="/p", release="d" * 64)
    attempt.begin(job)
    os.utime(attempt.folder / "job.json", (at, at))
    attempt.log.write_text(f"engine of {name}\n")
    attempt.program_log.write_text(f"program of {name}\n")
    message = f"{'x' * 5000} cause of {name}, password=hunter2"
    event = {"diagnosticEvent": {"severity": "error", "message": message}}
    attempt.events.write_text(json.dumps(event) + "\n")
    if outcome:
        attempt.finish(Result.model_validate({"outcome": outcome, "reason": "why"}))
    return attempt


def test_the_newest_attempt_that_left_anything_is_read_whole(tmp_path: Path) -> None:
    """Not an older one, not another stack's, not one that succeeded later; and without secrets."""
    left(tmp_path, "v1-1:us-west-2.ingest:forward:1", 1000)
    left(tmp_path, "v1-1:us-west-2.ingest:forward:2", 2000)
    left(tmp_path, "v1-1:us-west-2.query:forward:1", 3000, stack="us-west-2.query")
    left(tmp_path, "v1-1:us-west-2.ingest:back:1", 4000, "succeeded").tidy()
    found = newest_log(tmp_path, STACK)
    assert (found.attempt, found.at) == ("v1-1:us-west-2.ingest:forward:2", 2000)
    assert found.engine == "engine of v1-1:us-west-2.ingest:forward:2\n"
    assert found.program == "program of v1-1:us-west-2.ingest:forward:2\n"
    (said,) = found.diagnostics
    assert said.message.startswith("x" * 5000 + " cause of v1-1")
    assert "hunter2" not in found.model_dump_json()


def test_a_preview_that_was_called_off_left_nothing_to_read(tmp_path: Path) -> None:
    """Its wave began; one that failed is read as any other."""
    left(tmp_path, "a", 1000)
    for outcome, newest in (("failed", "b"), ("aborted", "a")):
        left(tmp_path, "b", 2000, outcome, operation="preview")
        assert newest_log(tmp_path, STACK).attempt == newest


def test_a_clock_that_was_set_back_makes_no_attempt_older(tmp_path: Path) -> None:
    """The newest is the one that began last."""
    left(tmp_path, "a", 9000)
    left(tmp_path, "b", 1000)
    assert newest_log(tmp_path, STACK).attempt == "b"


def test_an_attempt_that_was_killed_or_runs_is_read(tmp_path: Path) -> None:
    """It has no result, but something to read."""
    left(tmp_path, "a", 1000)
    left(tmp_path, "b", 2000, outcome="")
    assert (newest_log(tmp_path, STACK).attempt, newest_log(tmp_path, STACK).outcome) == ("b", "")


def test_a_stack_without_logs_is_refused_with_those_that_have_some(tmp_path: Path) -> None:
    """A slip is named, also where nothing was ever run."""
    with pytest.raises(BadInput):
        newest_log(tmp_path, STACK)
    left(tmp_path, "a", 1000)
    with pytest.raises(BadInput) as refused:
        newest_log(tmp_path, "us-west-2.ingst")
    assert STACK in refused.value.expected


@pytest.mark.engine
def test_a_real_failure_can_be_read_and_a_success_leaves_nothing(
    engine_world: RealWorld, sandbox: Project, stack: str, tmp_path: Path
) -> None:
    """Program's traceback and the engine's error are there until the stack's folder goes."""
    world: World = engine_world
    for source in (release(tmp_path / "bad", broken=True), release(tmp_path / "good")):
        wanted = job(f"rollout:{uuid.uuid4()}:forward:1", stack, source)
        world.deployer().run(wanted, progress=lambda event: None, aborted=lambda: False)
    found = newest_log(sandbox.home, stack)
    assert found.outcome == "failed"
    assert "broken on purpose" in found.engine
    assert any("broken on purpose" in said.message for said in found.diagnostics)
