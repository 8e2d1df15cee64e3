"""What every test may use, and how tests run beside each other (`-n auto`): the tests of a file one after the other in
one process, which has a sandbox and a PostgreSQL server of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling, Scheduling

from cellwave.errors import Unavailable
from cellwave.project import Project, find_project
from cellwave.sandbox import server
from cellwave.toolchain.install import ensure_yaml_host
from tests.keeping import kept
from tests.postgres import server as postgres_server

# How long an example, or the making of one, takes says more about the machine than about the code.
settings.register_profile("no deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no deadline")
# A shell has what it runs in the background ignore Ctrl-C, and whatever that starts would ignore it too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
MOST = 8  # processes, each with its servers
# The files that take longest come first: none of them is to begin when all others have ended.
LONG = (
    "story/test_kills.py", "story/test_other_service.py", "rollout/test_crashes.py", "audit/test_gates.py",
    "story/test_story.py", "rollout/test_schema.py", "deploy/test_gone.py", "rollout/test_hosts.py",
    "story/test_shared.py", "audit/test_program.py", "cell/test_lease.py", "deploy/test_kept.py",
    "deploy/test_frozen.py", "deploy/test_contract.py", "cli/test_worker.py", "sandbox/test_server.py",
)  # fmt: skip


def pytest_xdist_auto_num_workers() -> int:
    """One more than processors: many tests wait for others' processes, or for a clock."""
    return min(1 + len(os.sched_getaffinity(0)), MOST)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Whatever was asked for: tests of a file may share what is made for it, or go on where the one before ended."""
    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, the rest as they were found."""
    here = Path(__file__).parent
    order = {here / name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path, len(LONG)))


def pytest_configure() -> None:
    """A run that is told to end still takes down what it has started."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated"))


@pytest.fixture(scope="session", autouse=True)
def packages_at_hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Programs' requirements are met by the versions that this project is locked to, where it has the package: they are
    in uv's cache, and an index has them that is a day behind."""
    lock = (find_project(Path(__file__).parent).root / "requirements.lock").read_text()
    pins = [line.removesuffix(" \\") for line in lock.splitlines() if line[:1].isalnum()]
    file = tmp_path_factory.mktemp("pins") / "constraints.txt"
    file.write_text("".join(f"{pin}\n" for pin in pins if not pin.startswith("iniconfig")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_CONSTRAINT", str(file))
        yield


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A running sandbox of this test run's own; its variables are in os.environ until the run ends.

    Tests share it: give each its own account or names.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLWAVE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("AWS_PROFILE", raising=False)
        patch.delenv("AWS_SESSION_TOKEN", raising=False)
        project = find_project(Path(__file__).parent)
        with kept(project):
            server.up(project, print)
            for name, value in server.environment(project).items():
                patch.setenv(name, value)
            yield project


@pytest.fixture(scope="session")
def yaml_host() -> Path:
    """What the engine runs YAML programs with; built by the first test that needs it, where `make test` has not."""
    return ensure_yaml_host(find_project(Path(__file__).parent), print)


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Server]:
    """A PostgreSQL server of this test run's own, which tests share: each makes databases of its own in it."""
    try:
        with postgres_server.running() as started:
            yield started
    except Unavailable as missing:
        pytest.fail(f"{missing.message}: {missing.hint}", pytrace=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database: a test that asks for it is run on each of both."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'cellwave.db'}"
        return
    with request.getfixturevalue("postgres").database() as url:
        yield url
