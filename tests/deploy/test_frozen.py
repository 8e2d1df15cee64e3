"""Whatever of an attempt is frozen is named, ended and tried again; and an abort waits for none of it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import psutil
import pytest

from cellwave.deploy.deadlines import Deadlines
from cellwave.deploy.port import Deployer, Job, Progress, Result
from cellwave.project import Project
from cellwave.sandbox import server
from tests.deploy.test_processes import assert_whole, drivers, when_half_done
from tests.deploy.world import held, job, release
from tests.deploy.worlds import RealWorld

pytestmark = pytest.mark.engine

ABORT = {"grace": 3.0, "kill_after": 2.0, "outside": 3.0}
# Long enough for a busy machine's part to give a sign, short enough for a test to wait for.
SHORT = Deadlines(named=2, driver=6, engine=6, event=9, **ABORT)
NAMED = {
    "driver": "the process that runs the deployment",
    "engine": "the engine",
    "program": "the program or a provider",
    "provider": "the program or a provider",  # it is asked to check the queue before the engine begins to make it
    "emulator": "create aws:sqs/queue:Queue queue",
}
# What tells whose it is: all but the driver look like a program that waits for ever.
FAULTS = {"driver": "host"}
PARTS = ["driver", "program", "engine", "provider", "emulator"]


class Freezer:
    """Stops processes, and lets those go on that are not the attempt's own."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._stopped: list[int] = []

    def freeze(self, part: str, attempt: str) -> None:
        """Stop a part of a running attempt, or of the sandbox."""
        if part in server.PARTS:
            pid = {status.name: status.pid for status in server.status(self._project)}[part]
        else:
            pid = next(p.pid for p in drivers(attempt) if part == role(p, drivers(attempt)))
        os.kill(pid, signal.SIGSTOP)
        self._stopped.append(pid)

    def thaw(self) -> None:
        """Let all go on that are left."""
        while self._stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._stopped.pop(), signal.SIGCONT)


def role(process: psutil.Process, holders: list[psutil.Process]) -> str:
    """What a process that holds an attempt's lock is: the program's host is a child of the driver."""
    if process.name() == "pulumi":
        return "engine"
    return "program" if process.ppid() in {holder.pid for holder in holders} else "driver"


@pytest.fixture
def freezer(sandbox: Project) -> Iterator[Freezer]:
    """Thaws at the end what it has frozen."""
    made = Freezer(sandbox)
    yield made
    made.thaw()


class Patience:
    """Deadlines that are long until a part is frozen: a busy machine takes its time to start an engine."""

    over = False

    def __getattr__(self, name: str) -> object:
        return getattr(SHORT if self.over else Deadlines(**ABORT), name)


PATIENCE = Patience()


@pytest.fixture(scope="module")
def shared(engine_world: RealWorld) -> Deployer:
    """One deployer, for its warm process: no test freezes that."""
    return engine_world.within(cast(Deadlines, PATIENCE))


@pytest.fixture
def deployer(shared: Deployer) -> Deployer:
    """A deployer that is patient until a test says that it is over."""
    PATIENCE.over = False
    return shared


@pytest.fixture
def wanted(tmp_path: Path, stack: str) -> Job:
    """A job that is held up between the bucket and the queue."""
    return job(f"rollout:{uuid.uuid4()}:forward:1", stack, held(tmp_path / "v1"))


@pytest.fixture
def quick(tmp_path: Path, stack: str) -> Job:
    """A job that nothing holds up."""
    return job(f"rollout:{uuid.uuid4()}:forward:1", stack, release(tmp_path / "v1"))


def run(
    deployer: Deployer, wanted: Job, said: list[str], aborted: Callable[[], bool] = lambda: False
) -> Result:
    """Run a job and note what a watcher is told."""

    def progress(event: Progress) -> None:
        said.append(f"{event.operation} {event.resource}")

    return deployer.run(wanted, progress=progress, aborted=aborted)


def assert_the_next_try_works(world: RealWorld, wanted: Job) -> None:
    """The same job, as the next attempt, brings the stack home."""
    assert drivers(wanted.attempt) == [], "something of the first attempt still runs"
    again = run(world.deployer(), wanted.model_copy(update={"attempt": f"{wanted.attempt[:-1]}2"}), [])
    assert again.outcome == "succeeded", again.reason
    assert_whole(world, wanted.stack)


@pytest.mark.parametrize("part", PARTS)
def test_what_is_frozen_is_named_then_ended_and_tried_again(
    engine_world: RealWorld, deployer: Deployer, freezer: Freezer, wanted: Job, part: str
) -> None:
    """It says nothing of the release; whoever watches reads what is waited for, long before it is ended."""
    said = list[str]()

    def freeze() -> None:
        freezer.freeze(part, wanted.attempt)
        PATIENCE.over = True

    thread = when_half_done(engine_world, wanted, freeze)
    result = run(deployer, wanted, said)
    thread.join()
    assert (result.outcome, result.fault) == ("failed", FAULTS.get(part, "unknown")), result.reason
    assert NAMED[part] in result.reason
    assert any(NAMED[part] in text and "silent for" in text for text in said), said
    freezer.thaw()
    assert run(deployer, wanted, []) == result, "the attempt has its result"
    assert_the_next_try_works(engine_world, wanted)


@pytest.mark.parametrize("part", PARTS)
def test_an_abort_ends_whatever_is_frozen(
    engine_world: RealWorld, deployer: Deployer, freezer: Freezer, wanted: Job, part: str
) -> None:
    """A person's abort comes long before any deadline: it interrupts what can be, and kills what can't."""
    asked = threading.Event()

    def freeze() -> None:
        freezer.freeze(part, wanted.attempt)
        asked.set()

    thread = when_half_done(engine_world, wanted, freeze)
    result = run(deployer, wanted, [], asked.is_set)
    thread.join()
    assert result.outcome == "aborted", result.reason
    freezer.thaw()
    assert_the_next_try_works(engine_world, wanted)


def test_a_frozen_edge_is_no_part_of_a_deployment(
    engine_world: RealWorld, freezer: Freezer, quick: Job
) -> None:
    """Nothing of it goes through there."""
    freezer.freeze("edge", "")
    result = run(engine_world.deployer(), quick, [])
    assert result.outcome == "succeeded", result.reason
    assert_whole(engine_world, quick.stack)


def warm_process(deployer: Deployer) -> int:
    """The deployer's own, which is a child of this process."""
    (pid,) = {deployer._warm._process.pid}  # type: ignore[attr-defined]
    return int(pid)


def test_a_frozen_warm_process_is_replaced(engine_world: RealWorld, quick: Job) -> None:
    """It is named while it is waited for; then another one takes the job."""
    deployer, said = engine_world.within(Deadlines(named=2, accept=15)), list[str]()
    assert run(deployer, quick, []).outcome == "succeeded"
    os.kill(warm_process(deployer), signal.SIGSTOP)
    again = run(deployer, quick.model_copy(update={"attempt": f"{quick.attempt[:-1]}2"}), said)
    assert again.outcome == "succeeded", again.reason
    assert any("the process that starts deployments, silent for" in text for text in said)
    assert_whole(engine_world, quick.stack)


def test_an_abort_waits_for_no_frozen_warm_process(engine_world: RealWorld, quick: Job) -> None:
    """What it has not begun does not begin any more."""
    deployer = engine_world.within(Deadlines(accept=600))
    assert run(deployer, quick, []).outcome == "succeeded"
    os.kill(warm_process(deployer), signal.SIGSTOP)
    looks = iter([False, False])  # asked a moment after it has been handed over
    second = quick.model_copy(update={"attempt": f"{quick.attempt[:-1]}2"})
    result = run(deployer, second, [], lambda: next(looks, True))
    assert result.outcome == "aborted", result.reason
    third = quick.model_copy(update={"attempt": f"{quick.attempt[:-1]}3"})
    assert run(deployer, third, []).outcome == "succeeded"
