"""A rollout whose worker is killed at every effect ends the same, and deploys nothing twice."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Collection
from pathlib import Path

import pytest

from cellwave.fleet.parse import parse_fleet
from cellwave.project import Project
from cellwave.releases.build import build_release
from cellwave.rollout.cutting import forget_target
from cellwave.rollout.journal import faults
from cellwave.rollout.model import first_state
from cellwave.rollout.records import Records, StackRow
from cellwave.waves.parse import parse_strategy
from cellwave.waves.planner import make_plan
from tests.rollout import crashing
from tests.rollout.crashing import TARGET

FLEET = """
services:
  app: {program: app, proof: {parameter: /app}, signals: {alarm: {kind: alarm, name: "{cell}-app"}}}
"""
REGION = """
region: one
endpoint: one.example
residency: here
cells:
  - {name: a, account: "100000000001", aws_region: us-east-1}
  - {name: b, account: "100000000002", aws_region: us-east-1}
"""
WAVES = """
bake: {seconds: 0.2, samples: 0, limit: 5}
waves:
  - {name: first, cells: [a]}
  - {name: second, cells: [b]}
"""


@pytest.fixture
def folder(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two cells, with a release in each already and a second one built, on each kind of database."""
    monkeypatch.delenv("CELLWAVE_HOME", raising=False)
    monkeypatch.setenv("CELLWAVE_DATABASE_URL", database_url)
    root = tmp_path / "project"
    for name, text in {"cells/fleet.yaml": FLEET, "cells/one.yaml": REGION, "waves.yaml": WAVES}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "app").mkdir()
    (root / "app" / "__main__.py").touch()
    return tmp_path


def begin(folder: Path, *, bad: bool, cells: Collection[str] = ("a", "b"), target: str = TARGET) -> Records:
    """Record a rollout of v2 over v1."""
    project = Project(folder / "project")
    releases = []
    for version in ("v1", "v2"):
        (project.root / "app" / "Pulumi.yaml").write_text(
            f"name: app\nruntime: python\ndescription: {version}\n"
        )
        releases.append(build_release(project, version))
    fleet = parse_fleet(project.config_files())
    old, new = releases
    (folder / "bad").write_text(new.digest if bad else "none")
    records = Records(project.database_url)
    running = {f"{cell}.app": old.digest for cell in cells}
    for stack in running:
        records.set_stack(StackRow(stack, target, old.digest, {}, 1.0))
        (folder / f"runs-{stack}").write_text(old.digest)
    plan = make_plan(fleet, parse_strategy(project.waves_file(), fleet), new, running)
    state = first_state("v2-1", plan)
    records.create_rollout(state, "ann", target, time.time())
    return records


def work(folder: Path) -> list[str]:
    """Let a worker work, and die and be started again as the folder says; its outcome and deaths."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.rollout.crashing"])
    said = folder / "said"
    url = os.environ["CELLWAVE_DATABASE_URL"]
    process = processes.Process(target=crashing.apart, args=(folder, "v2-1", url, said))
    process.start()
    process.join(300)
    assert process.exitcode == 0, said.read_text()
    return [line for line in said.read_text().splitlines() if line and " " not in line]  # without its log


@pytest.mark.parametrize(("bad", "outcome"), [(False, "done"), (True, "rolled_back")])
def test_killed_at_every_effect_it_ends_the_same(folder: Path, bad: bool, outcome: str) -> None:
    """kill -9 before and after every deployment, inside of and after every turn, and around the handing over and the
    telling of every effect: the next worker goes on where it was, also when it is the 500th."""
    records = begin(folder, bad=bad)
    ended, kills = work(folder)
    assert ended == outcome
    assert int(kills) > 40
    attempts = (folder / "engine.log").read_text().splitlines()
    assert len(attempts) == len(set(attempts)) == 2, "no attempt ran twice"
    row = records.rollout("v2-1")
    assert row is not None
    expected = records.state("v2-1").forward.plan.steps[0]
    runs = {cell: (folder / f"runs-{cell}.app").read_text() for cell in ("a", "b")}
    if bad:
        assert set(runs.values()) == {expected.previous}
        assert records.state("v2-1").touched == ("a.app",), "the second wave was never touched"
    else:
        assert set(runs.values()) == {expected.release}
    assert records.leases() == {}
    entries = records.journal()
    assert not faults(entries)
    assert [e.kind for e in entries].count("deploying") == 2, "no journal line stands twice"


def test_what_an_effect_or_a_full_disk_throws_does_not_end_a_rollout(folder: Path) -> None:
    """An engine that can't be started, gates that can't be read, a decision that can't be kept: each is gone past."""
    records = begin(folder, bad=False)
    points = [
        "before deploy v2-1:a.app:forward:1",
        "reading",
        "inside turn 3",
        "before placed v2-1:a.app:forward:2",
        "before told v2-1:a.app:forward:2",
        "after turn 7",
    ]
    (folder / "faults").write_text("\n".join(points))
    assert work(folder)[-2:] == ["done", "0"]
    assert (folder / "faults").read_text() == ""
    entries = records.journal("v2-1")
    assert not faults(records.journal())
    assert [e.kind for e in entries].count("deploying") == 3, "no journal line stands twice"
    assert any("No space left" in e.text for e in entries if e.kind == "retrying")


@pytest.mark.parametrize(
    "point",
    [
        "inside turn 1",
        "after turn 2",
        "before placed v2-1:a.app:forward:1",
        "after placed v2-1:a.app:forward:1",
        "before deploy v2-1:a.app:forward:1",
        "after deploy v2-1:a.app:forward:1",
        "before told v2-1:a.app:forward:1",
        "after told v2-1:a.app:forward:1",
        "inside turn 3",
        "reading",
        "after turn 4",
    ],
)
def test_a_rollout_that_was_forgotten_while_its_worker_was_dead_stays_over(folder: Path, point: str) -> None:
    """Wherever the worker had come to: the next one deploys nothing for it, records nothing, and its workflows end."""
    records = begin(folder, bad=False)
    engine = folder / "engine.log"
    engine.touch()
    (folder / "deadly").write_text(point)
    assert work(folder) == ["1"], "it died there"
    did = engine.read_text()
    assert forget_target(records, TARGET, "ann reset the sandbox", 5.0) == ("v2-1",)
    (folder / "deadly").write_text("nowhere")
    assert work(folder) == ["failed", "0"]
    row = records.rollout("v2-1")
    assert row is not None
    assert (row.head.outcome, row.head.reason, row.head.ended_at) == (
        "failed",
        "ann reset the sandbox",
        5.0,
    )
    assert engine.read_text() == did
    assert (records.stacks(TARGET), records.leases(), records.unfinished(TARGET)) == ({}, {}, {})
    entries = records.journal()
    assert not faults(entries)
    assert [(e.kind, e.text) for e in entries if e.rollout][-1] == ("failed", "ann reset the sandbox")
