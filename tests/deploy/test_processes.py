"""What happens to a deployment when its processes are killed: the driver, the warm process, the worker, all of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cellwave.deploy.attempt import ENGINE, open_attempt
from cellwave.deploy.checkpoint import StackFiles, stack_files
from cellwave.deploy.drive import YIELDS
from cellwave.deploy.port import Job, Result
from cellwave.deploy.pulumi import PulumiDeployer
from cellwave.errors import Unavailable
from cellwave.project import Project
from cellwave.toolchain import engine
from tests.deploy.world import RESOURCES, held, job, release
from tests.deploy.worlds import PATIENCE, RealWorld

pytestmark = pytest.mark.engine

WORKER = """
import json, os, sys
from pathlib import Path
from cellwave.deploy.port import Job
from cellwave.deploy.pulumi import PulumiDeployer
from cellwave.project import Project
deployer = PulumiDeployer(Project(Path(sys.argv[1])), os.environ)
deployer.run(Job.model_validate(json.loads(sys.argv[2])), progress=lambda event: None, aborted=lambda: False)
"""


def slow(tmp_path: Path, stack: str) -> Job:
    """A job that is held up between the bucket and the queue."""
    return job(f"rollout:{uuid.uuid4()}:forward:1", stack, held(tmp_path / "v1"))


def warm_processes() -> list[psutil.Process]:
    """The warm processes, drivers and hosts of this run, and of nobody else."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # gone meanwhile, or dead and not waited for
            if "cellwave.deploy.forks" in process.cmdline():
                found.append(process)
    return found


def drivers(attempt: str) -> list[psutil.Process]:
    """The processes that hold the attempt's lock: its driver and its engine, the driver first."""
    name = attempt.replace(":", "%3A")
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(f"/deploy/{name}/lock" in file.path for file in process.open_files()):
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())


def wait_until_half_done(world: RealWorld, wanted: Job) -> None:
    """Return when the job is held up, and all before that is recorded."""
    end = time.monotonic() + PATIENCE
    while world.recorded(wanted.stack) != {"bucket", "parameter"} and time.monotonic() < end:
        time.sleep(0.02)


def when_half_done(world: RealWorld, wanted: Job, act: Callable[[], None]) -> threading.Thread:
    """Act when the job is held up; then let it go on."""

    def wait() -> None:
        wait_until_half_done(world, wanted)
        act()
        Path(wanted.source, "held").unlink()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def run(deployer: PulumiDeployer, wanted: Job) -> Result:
    """Run a job that nobody watches or aborts."""
    return deployer.run(wanted, progress=lambda event: None, aborted=lambda: False)


def assert_whole(world: RealWorld, stack: str) -> None:
    """Everything is there once, recorded, unlocked and nothing pending."""
    assert world.there(stack).keys() == world.recorded(stack) == {"bucket", "queue", "parameter"}
    assert (world.pending(stack), world.is_locked(stack)) == (0, False)


@pytest.fixture
def deployer(engine_world: RealWorld) -> PulumiDeployer:
    """The one that tests share: its warm process, when one kills it, is started anew."""
    return engine_world.deployer()


def test_a_killed_driver_s_engine_ends_first(
    engine_world: RealWorld, deployer: PulumiDeployer, stack: str, tmp_path: Path
) -> None:
    """The engine outlives its driver; the attempt waits for it and only then runs again, which changes nothing."""
    wanted = slow(tmp_path, stack)
    thread = when_half_done(engine_world, wanted, lambda: drivers(wanted.attempt)[0].kill())  # noqa: PLW0108
    result = run(deployer, wanted)
    thread.join()
    assert (result.outcome, result.changes) == ("succeeded", {"same": RESOURCES}), result.reason
    assert_whole(engine_world, stack)


def test_everything_killed_at_once_is_healed(
    engine_world: RealWorld, deployer: PulumiDeployer, stack: str, tmp_path: Path
) -> None:
    """Driver, program and engine killed in one moment: the same attempt still brings the stack home."""
    wanted = slow(tmp_path, stack)

    def kill_all() -> None:
        for process in [*drivers(wanted.attempt), *warm_processes()]:
            with contextlib.suppress(psutil.NoSuchProcess):  # the warm process went with another
                process.kill()

    thread = when_half_done(engine_world, wanted, kill_all)
    result = run(deployer, wanted)
    thread.join()
    assert result.outcome == "succeeded", result.reason
    assert_whole(engine_world, stack)


def test_a_killed_worker_s_attempt_is_taken_over(
    engine_world: RealWorld, deployer: PulumiDeployer, sandbox: Project, stack: str, tmp_path: Path
) -> None:
    """The next worker waits for what the killed one began, and gets that run's result."""
    wanted = slow(tmp_path, stack)
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(sandbox.root), wanted.model_dump_json()])
    when_half_done(engine_world, wanted, worker.kill).join()
    worker.wait()
    result = run(deployer, wanted)
    assert (result.outcome, result.changes) == ("succeeded", {"create": RESOURCES}), result.reason
    assert_whole(engine_world, stack)


def test_an_abort_reaches_an_attempt_that_another_worker_began(
    engine_world: RealWorld, deployer: PulumiDeployer, sandbox: Project, stack: str, tmp_path: Path
) -> None:
    """A person's abort ends the engine that outlived its worker, and would have gone on."""
    wanted = slow(tmp_path, stack)
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(sandbox.root), wanted.model_dump_json()])
    wait_until_half_done(engine_world, wanted)
    worker.kill()
    worker.wait()
    result = deployer.run(wanted, progress=lambda event: None, aborted=lambda: True)
    assert result.outcome == "aborted"
    assert not engine_world.is_locked(stack)


@pytest.fixture
def files(stack: str) -> StackFiles:
    """The stack's files in a backend that an engine has used before, though no other test has."""
    found = stack_files(os.environ, "shop", stack)
    assert found is not None
    if not found.is_usable:
        found.root.mkdir(exist_ok=True)
        (found.root / "meta.yaml").write_text("version: 1\n")
    return found


@pytest.mark.usefixtures("files")
def test_a_new_stack_s_deployment_is_one_command_of_the_engine(
    deployer: PulumiDeployer, sandbox: Project, stack: str, tmp_path: Path
) -> None:
    """In a directory an empty stack is a file, which the engine takes for its own."""
    wanted = job(f"rollout:{uuid.uuid4()}:forward:1", stack, release(tmp_path / "v1"))
    assert run(deployer, wanted).outcome == "succeeded"
    trail = open_attempt(sandbox.home, wanted.attempt).trail()
    assert [detail for _, phase, detail in trail if phase == ENGINE] == ["up"]


def test_a_preview_makes_room_for_whatever_deploys(
    deployer: PulumiDeployer, files: StackFiles, stack: str, tmp_path: Path
) -> None:
    """Its program, as its engine, is as nice as a process that nothing waits for."""
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (tmp_path / "__main__.py").write_text("import os\nraise RuntimeError(f'niceness {os.nice(0)}.')\n")
    files.make_stack()
    result = run(deployer, job(f"rollout:{uuid.uuid4()}:ahead:1", stack, tmp_path, "preview"))
    assert f"niceness {min(19, os.nice(0) + YIELDS)}." in result.reason
    files.file.unlink()


def test_no_process_stays(engine_world: RealWorld, stack: str, tmp_path: Path) -> None:
    """After a run and the deployer's end, none of its processes is left."""
    deployer = engine_world.restarted()
    before = {process.pid for process in warm_processes()}
    wanted = job(f"rollout:{uuid.uuid4()}:forward:1", stack, release(tmp_path / "v1"))
    assert run(deployer, wanted).outcome == "succeeded"
    deployer.close()
    assert drivers(wanted.attempt) == []
    assert len({process.pid for process in warm_processes()} - before) == 0


def test_the_attempt_s_folder_holds_no_secret(
    engine_world: RealWorld, deployer: PulumiDeployer, sandbox: Project, stack: str, tmp_path: Path
) -> None:
    """Neither the environment's credentials nor a stack's secret output is written beside the result."""
    source = release(tmp_path / "v1", broken=True)  # a failure keeps its logs
    wanted = job(f"a:{uuid.uuid4()}", stack, source)
    run(deployer, wanted)
    folder = sandbox.home / "deploy" / wanted.attempt.replace(":", "%3A")
    text = "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())
    assert "broken on purpose" in text
    assert "a-secret-value" not in text
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in text
    assert json.loads((folder / "result.json").read_text())["outcome"] == "failed"


def test_without_an_engine_nothing_begins(
    deployer: PulumiDeployer, stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing engine is said before anything is touched."""
    monkeypatch.setattr(engine, "OLDEST", (99,))
    with pytest.raises(Unavailable, match="no Pulumi engine"):
        run(deployer, slow(tmp_path, stack))


def test_a_wrong_passphrase_says_nothing_of_a_release(
    engine_world: RealWorld, stack: str, tmp_path: Path
) -> None:
    """The engine can't read the stack's secrets: that waits for a person."""
    source = release(tmp_path / "v1")
    first = job(f"rollout:{uuid.uuid4()}:forward:1", stack, source)
    deployer = engine_world.deployer()
    assert deployer.run(first, progress=lambda _: None, aborted=lambda: False).outcome == "succeeded"
    again = first.model_copy(update={"attempt": f"rollout:{uuid.uuid4()}:forward:1"})
    other = engine_world.restarted(PULUMI_CONFIG_PASSPHRASE="another", PULUMI_CONFIG_PASSPHRASE_FILE="")
    result = other.run(again, progress=lambda _: None, aborted=lambda: False)
    assert (result.outcome, result.fault) == ("failed", "credential"), result
    assert "passphrase" in result.reason


def test_another_host_s_lock_is_named_with_its_time(
    engine_world: RealWorld, stack: str, tmp_path: Path
) -> None:
    """Who, where and since when; nobody here can know whether it lives, and it stays."""
    wanted = slow(tmp_path, stack)
    owner = engine_world.lock(stack, living=False, host="another-host")
    result = engine_world.deployer().run(wanted, progress=lambda _: None, aborted=lambda: False)
    assert (result.outcome, result.owner, result.elsewhere) == ("locked", owner, True)
    assert f"{owner} since 20" in result.reason
    assert f"pulumi cancel --stack {stack}" in result.reason
    assert engine_world.is_locked(stack)
    engine_world.unlock(stack)
