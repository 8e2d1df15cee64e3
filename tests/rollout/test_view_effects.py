"""What the engine and the proof are told of a deployment's inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cellwave.deploy.port import Deployer, Job, Progress, Result
from cellwave.fleet.model import Isolation
from cellwave.health.model import Reading
from cellwave.health.ports import Scope, SignalSource, Wanted
from cellwave.project import Project
from cellwave.releases.build import build_release
from cellwave.releases.store import DirectoryStore
from cellwave.rollout.effects import Effects
from cellwave.rollout.model import (
    Applied,
    Deploy,
    Deployed,
    Foreseen,
    Leg,
    Preview,
    Prove,
    State,
    Track,
    first_state,
)
from cellwave.rollout.outbox import Asked
from cellwave.rollout.records import Records, StackRow
from cellwave.waves.model import Bake, Plan, PlannedWave, Step

FILES = {
    "cells/fleet.yaml": "services:\n  app: {program: app, proof: {parameter: /app}}\n  bare: {program: app}\n",
    "cells/eu.yaml": """\
region: eu
endpoint: eu.example
residency: EU
cells: [{name: a, account: "200000000001", aws_region: eu-west-1}]
""",
    "waves.yaml": "waves:\n  - {name: all, cells: [a]}\n",
    "app/Pulumi.yaml": "name: app\nruntime: python\n",
    "app/__main__.py": "",
}


class Told(Deployer):
    """Keeps what it is told."""

    job: Job | None = None
    result = Result(outcome="succeeded")

    def run(self, job: Job, *, progress: Callable[[Progress], None], aborted: Callable[[], bool]) -> Result:
        """See Deployer."""
        self.job = job
        return self.result


class NoSignals(SignalSource):
    """Nothing is watched here."""

    def read(self, wanted: Sequence[Wanted]) -> list[Reading]:
        """See SignalSource."""
        return []


class World:
    """A release of one service, and effects of a rollout of it."""

    def __init__(self, folder: Path) -> None:
        for name, text in FILES.items():
            (folder / "project" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "project" / name).write_text(text)
        store = DirectoryStore(folder / "releases")
        self.release = build_release(Project(folder / "project"), "v1", store)
        self.told = Told()
        records = Records(f"sqlite:///{folder / 'cellwave.db'}")
        self.effects = Effects(folder, "t", records, store, self.told, NoSignals())

    def step(self, inputs: str, kept: str = "", service: str = "app") -> Step:
        """The one step of the release's plan."""
        return Step(cell="a", service=service, release=self.release.digest, inputs=inputs, kept=kept)

    def asked(self, effect: Deploy | Preview | Prove, track: Track) -> Asked:
        """What a rollout has asked for, whose one deployment has come so far."""
        step = effect.step
        wave = PlannedWave(number=1, name="all", steps=(step,), concurrency=1, bake=Bake())
        plan = Plan(release=step.release, version="v1", waves=(wave,))
        self.effects.records.create_rollout(first_state("v1-1", plan), "ann", "t", 1.0)
        state = State(first_state("v1-1", plan).head, Leg.of(plan, tracks={step.deployment: track}))
        self.effects.memory.states["v1-1"] = state
        return Asked(
            key="v1-1:a.app:forward:1", rollout="v1-1", effect=effect, at=1.0, round=0, undo_since=0.0
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A project, built."""
    monkeypatch.setenv("CELLWAVE_HOME", str(tmp_path / "home"))
    return World(tmp_path)


def test_an_engine_runs_the_program_in_its_view_which_holds_the_plans_digest(world: World) -> None:
    """Whatever this host would make of the same files: that digest is what is looked for afterwards."""
    effect = Deploy(step=world.step("i1:5"), attempt=1, back=False)
    world.effects.deploy(world.asked(effect, Track()), effect)
    assert world.told.job
    view = world.told.job.view
    assert view
    assert (view.digest, view.files) == ("i1:5", ("app/Pulumi.yaml", "app/__main__.py"))


@pytest.mark.parametrize(("back", "isolation"), [(False, Isolation()), (True, None)])
def test_an_engine_is_told_what_keeps_its_cell_apart_but_not_on_the_way_back(
    world: World, back: bool, isolation: Isolation | None
) -> None:
    """What ran before may come back, whatever is asked for, or has expired, since."""
    effect = Deploy(step=world.step("i1:5"), attempt=1, back=back)
    world.effects.deploy(world.asked(effect, Track()), effect)
    assert world.told.job
    assert world.told.job.isolation == isolation


def test_a_step_without_inputs_runs_as_it_did_before_there_were_views(world: World) -> None:
    """On all of its release."""
    effect = Deploy(step=world.step(""), attempt=1, back=False)
    world.effects.deploy(world.asked(effect, Track()), effect)
    assert world.told.job
    assert world.told.job.view is None


@pytest.mark.parametrize(("service", "unseen"), [("app", False), ("bare", True)])
def test_a_service_that_declares_no_proof_has_converged_when_its_engine_ends(
    world: World, service: str, unseen: bool
) -> None:
    """The rollout is told so."""
    effect = Deploy(step=world.step("", service=service), attempt=1, back=False)
    told = world.effects._perform(world.asked(effect, Track()))
    assert isinstance(told, Deployed)
    assert told.unseen is unseen


@pytest.mark.parametrize(
    ("result", "foreseen"),
    [
        (
            Result(outcome="succeeded", changes={"replace": 1}, lost=("urn:f",)),
            Foreseen(changes={"replace": 1}, lost=("urn:f",)),
        ),
        (Result(outcome="refused", reason="it would delete data"), Foreseen(problem="it would delete data")),
        (Result(outcome="failed", reason="KeyError", fault="release"), Foreseen(problem="KeyError")),
        (Result(outcome="failed", reason="no endpoint answered", fault="network"), None),
        (Result(outcome="locked", reason="locked by ann"), None),
        (Result(outcome="aborted", reason="interrupted"), None),
    ],
    ids=lambda value: getattr(value, "outcome", ""),
)
def test_a_preview_speaks_for_the_release_alone(
    world: World, result: Result, foreseen: Foreseen | None
) -> None:
    """What its surroundings, a lock or a call-off kept it from says nothing; the program runs in its view."""
    world.told.result = result
    effect = Preview(step=world.step("i1:5"), number=3)
    told = world.effects.preview(world.asked(effect, Track()), effect)
    assert (told.deployment, told.number, told.foreseen) == ("a.app", 3, foreseen)
    assert told.why == ("" if foreseen else f"{result.fault}: {result.reason}")
    assert world.told.job
    assert world.told.job.operation == "preview"
    assert world.told.job.view


@pytest.mark.parametrize(
    ("inputs", "kept", "track"),
    [
        ("i1:5", "", Track(applied=Applied(outputs={"url": "told"}))),
        ("", "", Track(applied=Applied(outputs={"url": "told"}))),
        ("i1:5", "unchanged", Track()),
    ],
    ids=["deployed", "of before", "kept"],
)
def test_a_proof_looks_for_the_inputs_digest(
    world: World, monkeypatch: pytest.MonkeyPatch, inputs: str, kept: str, track: Track
) -> None:
    """Where there is none, for the release; with the outputs that the engine told, else with those recorded."""
    seen: dict[str, Any] = {}

    def observe(_proof: object, scope: Scope) -> str:
        seen["outputs"] = scope.outputs
        return inputs or world.release.digest

    monkeypatch.setattr("cellwave.rollout.effects.observe_digest", observe)
    world.effects.records.set_stack(StackRow("a.app", "t", "old", {"url": "recorded"}, 1.0, inputs="i1:5"))
    effect = Prove(step=world.step(inputs, kept), attempt=1, back=False)
    assert world.effects.prove(world.asked(effect, track), effect).failure is None
    assert seen["outputs"] == {"url": "recorded" if kept else "told"}
