"""A host that has lost touch with the others ends its engines in time, whatever its worker does."""

from __future__ import annotations

import contextlib
import signal
import time
import uuid
from pathlib import Path

import psutil
import pytest

from cellwave.deploy.fence import since_boot, write_deadline
from cellwave.deploy.port import Job
from cellwave.processes import alive, this
from tests.deploy.test_frozen import assert_the_next_try_works, run
from tests.deploy.test_processes import drivers, when_half_done
from tests.deploy.world import held, job, release
from tests.deploy.worlds import PATIENCE, RealWorld

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
    source = held(tmp_path / "v1", pause=120)
    return job(f"rollout:{uuid.uuid4()}:forward:1", stack, source, fence=str(until))


def test_an_engine_ends_when_its_time_here_is_over(
    engine_world: RealWorld, wanted: Job, until: Path, tmp_path: Path
) -> None:
    """It leaves no lock, says nothing of the release, and another try mends what it had begun."""
    thread = when_half_done(engine_world, wanted, lambda: write_deadline(until, since_boot()))
    result = run(engine_world.deployer(), wanted, [])
    thread.join()
    assert (result.outcome, result.fault) == ("failed", "network"), result.reason
    assert "lost touch" in result.reason
    assert drivers(wanted.attempt) == []
    quick = release(tmp_path / "quick")
    again = wanted.model_copy(update={"program": str(quick), "source": str(quick), "fence": ""})
    assert_the_next_try_works(engine_world, again)


def test_no_engine_begins_after_its_time(
    engine_world: RealWorld, wanted: Job, until: Path, stack: str
) -> None:
    """A worker that wakes from a long sleep starts nothing, and touches nothing that may be another's by now."""
    write_deadline(until, since_boot() - 1)
    engine_world.lock(stack, living=False)
    result = run(engine_world.deployer(), wanted, [])
    assert (result.outcome, result.fault) == ("failed", "network"), result.reason
    assert "lost touch" in result.reason
    assert not engine_world.is_made(stack)
    assert engine_world.is_locked(stack)
    engine_world.unlock(stack)


@pytest.mark.parametrize("blow", [signal.SIGSTOP, signal.SIGKILL])
def test_an_engine_ends_in_time_whatever_becomes_of_the_process_that_runs_it(
    engine_world: RealWorld, wanted: Job, until: Path, blow: signal.Signals
) -> None:
    """Its worker may be stopped as well: nobody renews its time, and its driver does not look."""
    ended = list[bool]()

    def strike() -> None:
        driver, *others = drivers(wanted.attempt)
        [engine] = [this(process.pid) for process in others if process.name() == "pulumi"]
        driver.send_signal(blow)
        assert alive(engine)
        write_deadline(until, since_boot())
        deadline = time.monotonic() + PATIENCE
        while alive(engine) and time.monotonic() < deadline:
            time.sleep(0.05)
        ended.append(not alive(engine))
        with contextlib.suppress(psutil.NoSuchProcess):
            driver.send_signal(signal.SIGCONT)

    thread = when_half_done(engine_world, wanted, strike)
    result = run(engine_world.deployer(), wanted, [])
    thread.join()
    assert ended == [True]
    assert (result.outcome, result.fault) == ("failed", "network"), result.reason
    assert "lost touch" in result.reason
    assert drivers(wanted.attempt) == []
