"""A host that has lost touch with the others ends its engines in time, whatever its worker does."""

from __future__ import annotations

import uuid
from pathlib import Path

import psutil
import pytest

from cellwave.deploy.fence import since_boot, write_deadline
from cellwave.deploy.port import Job
from tests.deploy.test_frozen import assert_the_next_try_works, run
from tests.deploy.test_processes import drivers, when_half_done
from tests.deploy.world import held, job, release
from tests.deploy.worlds import RealWorld

pytestmark = pytest.mark.engine


@pytest.fixture
def until(tmp_path: Path) -> Path:
    """The file that says until when: a long time from now."""
    file = tmp_path / "until"
    write_deadline(file, since_boot() + 600)
    return file


@pytest.fixture
def wanted(tmp_path: Path, stack: str, until: Path) -> Job:
    """A job that makes the bucket and the parameter, then waits longer than it may run, then makes the queue."""
    source = held(tmp_path / "v1", pause=20)
    return job(f"rollout:{uuid.uuid4()}:forward:1", stack, source, fence=str(until))


def test_an_engine_ends_when_its_time_here_is_over(
    engine_world: RealWorld, wanted: Job, until: Path, tmp_path: Path
) -> None:
    """It leaves no lock, says nothing of the release, and another try mends what it had begun."""
    thread = when_half_done(engine_world, wanted, lambda: write_deadline(until, since_boot()))
    result = run(engine_world.deployer(), wanted, [])
    thread.join()
    assert (result.outcome, result.transient) == ("failed", True), result.reason
    assert "lost touch" in result.reason
    assert drivers(wanted.attempt) == []
    quick = release(tmp_path / "quick")
    again = wanted.model_copy(update={"program": str(quick), "source": str(quick), "fence": ""})
    assert_the_next_try_works(engine_world, again)


def test_no_engine_begins_after_its_time(
    engine_world: RealWorld, wanted: Job, until: Path, stack: str
) -> None:
    """A worker that wakes from a long sleep starts nothing."""
    write_deadline(until, since_boot() - 1)
    result = run(engine_world.deployer(), wanted, [])
    assert (result.outcome, result.transient) == ("failed", True), result.reason
    assert not engine_world.is_made(stack)


def test_an_engine_that_may_be_taken_for_dead_does_not_outlive_its_driver(
    engine_world: RealWorld, wanted: Job, tmp_path: Path
) -> None:
    """Nobody would end it in time."""
    quick = held(tmp_path / "quick")
    job = wanted.model_copy(update={"program": str(quick), "source": str(quick)})
    engines = list[psutil.Process]()

    def kill() -> None:
        driver, *rest = drivers(job.attempt)
        engines.extend(process for process in rest if process.name() == "pulumi")
        driver.kill()
        for engine in engines:
            engine.wait(5)

    thread = when_half_done(engine_world, job, kill)
    result = run(engine_world.deployer(), job, [])
    thread.join()
    assert engines
    assert result.outcome == "succeeded", result.reason
