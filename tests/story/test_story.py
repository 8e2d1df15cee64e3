"""The main job on the real engine, with two cells: deploy, catch a bad release, roll it back, survive kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import patch_ng
import psutil
import pytest

from cellwave.demo.customers import Customers, read_commands
from cellwave.rollout.journal import faults
from cellwave.rollout.model import State
from cellwave.sandbox.accounts import Accounts
from cellwave.sandbox.orphans import orphans, read_states
from cellwave.usecases.surroundings import Surroundings
from tests.story.conftest import ROOT, Story

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def live(story: Story) -> Iterator[Customers]:
    """v1 in both cells, reached by steady traffic; the sandbox's environment is this process's."""
    story.run("release", "build", "--version", "v1")
    story.run("up", "control", "--release", "v1")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CELLWAVE_HOME", raising=False)
        patch.delenv("PULUMI_BACKEND_URL", raising=False)
        context = Surroundings(story.project)
        for name, value in context.environment.items():
            patch.setenv(name, value)
        folder = story.project.home / "demo"
        folder.mkdir()
        customers = Customers(story.project, context.environment, read_commands(story.project), folder)
        customers.prepare()
        customers.begin()
        try:
            story.run("rollout", "start", "v1")
            yield customers
        finally:
            customers.end()


def query_alias(story: Story, cell: str) -> int:
    """The version, by which count it was published, that the query function's alias `live` of a cell points to."""
    fleet, _ = Surroundings(story.project).configuration()
    client = Accounts(fleet).client("lambda", fleet.cell(cell))
    return int(client.get_alias(FunctionName=f"{cell}-query-api", Name="live")["FunctionVersion"])


def kill_engine(story: Story, stack: str) -> bool:
    """kill -9 the engine process of a stack, if one runs."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if (
            words
            and Path(words[0]).name == "pulumi"
            and stack in words
            and str(story.project.home) in str(_cwd(process))
        ):
            process.kill()
            return True
    return False


def _cwd(process: psutil.Process) -> str:
    try:
        return process.cwd()
    except psutil.Error:
        return ""


def state_of(story: Story, name: str) -> State:
    """A rollout's state."""
    return story.records.state(name)


def test_a_good_release_reaches_every_cell(story: Story, live: object) -> None:
    """v1 runs in both cells; the list, the cells and the journal say so."""
    assert story.json("rollout", "list")[0]["status"] == "done"
    runs = {c["cell"]: set(c["services"].values()) for c in story.json("cells")}
    assert runs == {"control": {"v1"}, "ap-south-1": {"v1"}, "eu-west-1": {"v1"}}
    status = story.json("fleet", "status", "--probe")
    assert {(s["expected"]["name"], s["observed"]["name"], s["answers"], s["drift"]) for s in status} == {
        ("v1", "v1", "v1", "")
    }
    fleet, _ = Surroundings(story.project).configuration()
    assert {one["stack"] for one in status} == set(fleet.stacks)
    story.run("journal", "verify")


def test_a_bad_release_stops_in_its_first_wave_though_the_worker_is_killed(
    story: Story, live: object
) -> None:
    """v2 answers 5xx to some requests: seen, rolled back, held, never beyond wave 1; kill -9 of the worker while
    it bakes changes nothing of that."""
    change = patch_ng.fromfile(str(ROOT / "demo" / "v2-defect.patch"))
    assert change
    assert change.apply(strip=1, root=str(story.project.root))
    story.run("release", "build", "--version", "v2")
    before = {cell: query_alias(story, cell) for cell in ("ap-south-1", "eu-west-1")}
    story.run("rollout", "start", "v2", "--detach")
    story.wait("the bake", lambda: state_of(story, "v2-1").forward.stage == "baking")
    pid = story.wait("a worker", story.pid_of_worker)
    os.kill(pid, signal.SIGKILL)
    story.run("rollout", "watch", "v2-1", code=3)
    state = state_of(story, "v2-1")
    assert "ap-south-1" in state.head.reason
    assert {name.split(".")[0] for name in state.touched} == {"ap-south-1"}
    assert query_alias(story, "ap-south-1") == before["ap-south-1"] + 2, "of v2, and of v1 again"
    assert query_alias(story, "eu-west-1") == before["eu-west-1"]
    story.run("rollout", "start", "v2", code=2)


def test_the_fixed_release_goes_through_though_engines_are_killed(story: Story, live: object) -> None:
    """v3 reaches both cells; kill -9 of a running engine leaves no lock, nothing pending, nothing twice."""
    change = patch_ng.fromfile(str(ROOT / "demo" / "v3-fix.patch"))
    assert change
    assert change.apply(strip=1, root=str(story.project.root))
    story.run("release", "build", "--version", "v3")
    story.run("rollout", "start", "v3", "--detach")
    story.wait("an engine to kill", lambda: kill_engine(story, "ap-south-1.query"))
    story.run("rollout", "watch", "v3-1")
    state = Path(story.project.home / "sandbox" / "state")
    assert not list(state.glob(".pulumi/locks/**/*.json"))
    runs = {c["cell"]: set(c["services"].values()) for c in story.json("cells")}
    assert runs["ap-south-1"] == runs["eu-west-1"] == {"v1", "v3"}
    forward = state_of(story, "v3-1").forward
    kept = {step.service for step in forward.plan.steps if forward.keeps(step)}
    assert kept == {"storage", "directory", "ingest", "router"}, "only the query handler was changed"
    assert story.records.leases() == {}


def test_a_key_that_is_given_deploys_nothing(story: Story, live: object) -> None:
    """It reaches the cells by itself: a plan keeps all that runs."""
    subprocess.run(
        [sys.executable, "-m", "cellwave.cli.main", "audit", "key", "late/t1"],
        check=True,
        capture_output=True,
    )
    plan = story.json("plan", "v3")
    assert {bool(step["kept"]) for wave in plan["waves"] for step in wave["steps"]} == {True}


def test_a_literal_pulumi_up_works_and_changes_nothing(story: Story, live: object) -> None:
    """`pulumi stack select` and `pulumi up`, as any Pulumi user types them, agree with what the rollout deployed."""
    environment = dict(Surroundings(story.project).environment)
    for command in (
        "pulumi stack select ap-south-1.query",
        "pulumi preview --non-interactive",
        "pulumi up --yes --non-interactive --skip-preview",
    ):
        done = subprocess.run(
            command.split(),
            cwd=story.project.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_was_lost_crossed_orphaned_or_forged(story: Story, live: Customers) -> None:
    """Every accepted event is in archive and query API, no tenant read another's, no resource is without a stack, and
    the journal's chain is whole."""
    live.end()
    found, crossed = live.verify(), live.cross()
    assert found.accepted > 50
    assert (found.lost, found.misplaced) == (0, 0)
    assert crossed.own > 0
    assert crossed.reads == 0
    fleet, _ = Surroundings(story.project).configuration()
    assert not orphans(fleet, read_states(story.project.home / "sandbox" / "state"))
    assert not faults(story.records.journal())
