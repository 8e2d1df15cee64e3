"""What a state backend tells of its stacks: a fake, the files of a folder, and any backend through the engine."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cellwave.deploy.backend import BackendStack, EngineBackend, FolderBackend, StateBackend, open_backend
from cellwave.deploy.port import Job, Result
from cellwave.errors import Unavailable
from cellwave.project import Project
from cellwave.target import file_url
from tests.deploy.fake import FakeBackend
from tests.deploy.world import World, job, release
from tests.deploy.worlds import FakeWorld, RealWorld

FIRST, SECOND = "1" * 64, "2" * 64
CLOCK = 2.0  # seconds by which a time that is kept in whole seconds may seem to lie before another


@dataclass(frozen=True)
class Bench:
    """A world, its backend, and a stack in it that no other test uses."""

    world: World
    backend: StateBackend
    stack: str
    folder: Path

    def seen(self) -> BackendStack | None:
        """The stack as the backend has it."""
        return next((found for found in self.backend.stacks() if found.name == self.stack), None)

    def deploy(self, digest: str, **settings: object) -> Result:
        """Deploy a release as a rollout does."""
        return self.run(job("", self.stack, self._source(digest, settings), release=digest))

    def run(self, wanted: Job) -> Result:
        """Run a job under a name of its own."""
        named = wanted.model_copy(update={"attempt": f"v1-1:{uuid.uuid4()}:forward:1"})
        return self.world.deployer().run(named, progress=lambda _: None, aborted=lambda: False)

    def by_hand(self, **settings: object) -> None:
        """A literal `pulumi up`."""
        self.world.by_hand(self.stack, self._source("hand", settings))

    def _source(self, name: str, settings: dict[str, object]) -> Path:
        return release(self.folder / f"{name}-{uuid.uuid4().hex[:6]}", **settings)


@pytest.fixture(scope="module")
def apart(sandbox: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealWorld]:
    """The engine with a state backend of these tests' own: the engine is asked of one stack after the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_BACKEND_URL", file_url(tmp_path_factory.mktemp("backend")))
        world = RealWorld(sandbox)
        yield world
        world.close()


@pytest.fixture(
    params=[
        "fake",
        pytest.param("folder", marks=pytest.mark.engine),
        pytest.param("engine", marks=pytest.mark.engine),
    ]
)
def bench(request: pytest.FixtureRequest, stack: str, tmp_path: Path) -> Bench:
    """A stack that was never deployed."""
    if request.param == "fake":
        fake = FakeWorld()
        return Bench(fake, FakeBackend(fake.cloud), stack, tmp_path)
    real: RealWorld = request.getfixturevalue("apart")
    return Bench(real, real.backend(through_engine=request.param == "engine"), stack, tmp_path)


def test_a_stack_that_is_not_there_is_not_told_of(bench: Bench) -> None:
    """Nothing is made by looking."""
    assert bench.seen() is None


def test_the_release_of_an_update_is_told_and_when_it_ended(bench: Bench) -> None:
    """Whatever the program makes; the newest update comes first."""
    begun = time.time()
    assert bench.deploy(FIRST).outcome == "succeeded"
    assert bench.deploy(SECOND, version="v2").outcome == "succeeded"
    seen = bench.seen()
    assert seen
    assert (seen.project, seen.trouble, seen.resources) == ("shop", "", 5)
    assert len(bench.backend.resources(seen)) == 5
    assert [(u.kind, u.release, u.succeeded, u.changed) for u in seen.updates] == [
        ("update", SECOND, True, True),
        ("update", FIRST, True, True),
    ]
    newest = seen.updates[0].ended_at
    assert begun - CLOCK <= newest <= time.time() + CLOCK
    assert abs(seen.written_at - newest) <= CLOCK


def test_a_literal_pulumi_up_is_seen_as_somebody_elses(bench: Bench) -> None:
    """It leaves an update of no release of ours, by which something changed."""
    bench.deploy(FIRST)
    bench.by_hand(version="v2")
    seen = bench.seen()
    assert seen
    assert [(u.release, u.succeeded, u.changed) for u in seen.updates] == [
        (None, True, True),
        (FIRST, True, True),
    ]


def test_an_update_that_changes_nothing_says_so(bench: Bench) -> None:
    """By hand or by a rollout."""
    bench.deploy(FIRST)
    bench.by_hand()
    seen = bench.seen()
    assert seen
    assert [(u.release, u.changed) for u in seen.updates] == [(None, False), (FIRST, True)]


def test_an_update_that_failed_says_so(bench: Bench) -> None:
    """What it left is neither the old release nor the new one."""
    bench.deploy(FIRST)
    assert bench.deploy(SECOND, version="v2", bucket="other", broken=True).outcome == "failed"
    seen = bench.seen()
    assert seen
    assert [(u.release, u.succeeded) for u in seen.updates] == [(SECOND, False), (FIRST, True)]


def test_a_stack_that_was_taken_away_is_told_of_no_more(bench: Bench) -> None:
    """With its last resource it goes out of the backend too."""
    bench.deploy(FIRST)
    source = str(release(bench.folder / "gone"))
    gone = Job(attempt="", stack=bench.stack, operation="destroy", program=source, source=source)
    assert bench.run(gone).outcome == "succeeded"
    assert bench.seen() is None


def test_a_state_that_cant_be_read_is_named_and_hides_no_other(tmp_path: Path) -> None:
    """A full disk left half of a file."""
    stacks = tmp_path / "stacks" / "shop"
    stacks.mkdir(parents=True)
    (tmp_path / "meta.yaml").write_text("version: 1\n")
    (stacks / "a.app.json").write_text('{"checkpoint": {"la')
    whole = {"manifest": {"time": "2026-11-25T09:16:30.160523055Z"}, "resources": [{}, {}]}
    (stacks / "b.app.json").write_text(json.dumps({"checkpoint": {"latest": whole}}))
    torn, read = FolderBackend(tmp_path).stacks()
    assert (torn.name, "a.app.json" in torn.trouble) == ("a.app", True)
    assert (read.name, read.trouble, read.resources) == ("b.app", "", 2)
    assert int(read.written_at) == 1795598190


@pytest.mark.engine
def test_a_backend_that_cant_be_asked_is_told_in_the_engines_words(sandbox: object, tmp_path: Path) -> None:
    """A bucket nobody has, asked through the engine."""
    assert sandbox
    engine = Path(__file__).parents[2] / ".cellwave" / "bin" / "pulumi"
    environment = {**os.environ, "PULUMI_BACKEND_URL": f"file://{tmp_path / 'nowhere'}"}
    backend = open_backend(engine, environment)
    assert isinstance(backend, EngineBackend)
    with pytest.raises(Unavailable, match="no such file or directory"):
        backend.stacks()


@pytest.mark.engine
def test_an_empty_backend_has_no_stacks(sandbox: object, tmp_path: Path) -> None:
    """Asked through the engine or read from its folder."""
    assert sandbox
    engine = Path(__file__).parents[2] / ".cellwave" / "bin" / "pulumi"
    environment = {**os.environ, "PULUMI_BACKEND_URL": file_url(tmp_path)}
    assert EngineBackend(engine, environment).stacks() == []
    assert open_backend(engine, environment).stacks() == []
