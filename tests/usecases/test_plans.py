"""What a plan keeps: stacks that are known to run what they would be made of again, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cellwave.deploy.backend import BackendStack, Update
from cellwave.errors import Unavailable
from cellwave.project import Project
from cellwave.release import Release
from cellwave.releases.build import build_release
from cellwave.releases.sources import sources_of
from cellwave.rollout.records import StackRow
from cellwave.states import State
from cellwave.usecases.plans import plan_for, plan_up
from cellwave.usecases.surroundings import Surroundings
from cellwave.waves.model import Plan
from tests.cli.conftest import copy_of_this, work_in

AT = 1000.0
QUERY = "src/audit/handlers/query/api.py"


@dataclass
class Backend:
    """A state backend of which a test says what it says."""

    there: dict[str, BackendStack]
    away: bool = False

    def stacks(self) -> list[BackendStack]:
        """All of them."""
        if self.away:
            raise Unavailable("the bucket does not answer")
        return list(self.there.values())

    def resources(self, stack: BackendStack) -> list[State]:
        """Nobody asks for them."""
        raise NotImplementedError


@dataclass
class Fleet:
    """The audit product, whose v1 runs in every cell and was proven there."""

    around: Surroundings
    backend: Backend
    v1: Release

    def edit(self, path: str = QUERY, text: str = "# another line\n") -> None:
        """Append to a file of the working tree."""
        file = self.around.project.root / path
        file.write_text(file.read_text() + text)

    def plan(self, version: str = "v2", *, everything: bool = False) -> Plan:
        """The plan of the working tree, built as a version."""
        release = build_release(self.around.project, version, self.around.store)
        return plan_for(self.around, release, everything=everything)

    def row(self, stack: str) -> StackRow:
        """What is recorded of a stack."""
        return self.around.records.stacks(self.around.target)[stack]


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """What every stack runs is v1, by the records and by the backend."""
    root = copy_of_this(tmp_path)
    work_in(root, monkeypatch)
    Project(root).make_home()
    around, backend = Surroundings(Project(root)), Backend({})
    monkeypatch.setattr(Surroundings, "backend", backend)
    v1 = build_release(around.project, "v1", around.store)
    sources = sources_of(around.store.path(v1.digest))
    for stack, digest in sources.digests({cell.name for cell in sources.fleet.every_cell}).items():
        around.records.set_stack(StackRow(stack, around.target, v1.digest, {}, AT, inputs=digest))
        backend.there[stack] = ran(stack, v1.digest)
    return Fleet(around, backend, v1)


def ran(stack: str, release: str | None, at: float = AT) -> BackendStack:
    """A stack whose last update was for a release, or for none of ours."""
    update = Update(kind="update", release=release, ended_at=at, succeeded=True, changed=True)
    return BackendStack(project="audit", name=stack, resources=5, written_at=at, updates=(update,))


def deployed(plan: Plan) -> set[str]:
    """What runs an engine."""
    return {step.deployment for step in plan.steps if not step.kept}


def test_a_change_of_one_handler_runs_its_service_alone(fleet: Fleet) -> None:
    """Six engines instead of twenty-four; what is kept says since when, and by which digest."""
    fleet.edit()
    plan = fleet.plan()
    assert deployed(plan) == {f"{cell}.query" for cell in plan.cells}
    [storage] = [step for step in plan.kept if step.deployment == "us-east-1.storage"]
    assert storage.inputs == storage.before == fleet.row("us-east-1.storage").inputs
    assert storage.kept == f"inputs unchanged since v1, sha256:{storage.inputs[3:15]}"
    assert storage.previous == fleet.v1.digest


def test_a_change_of_a_program_runs_all_that_see_it(fleet: Fleet) -> None:
    """Programs of one folder see each other's files."""
    fleet.edit("src/audit/stacks/query.py")
    assert len(deployed(fleet.plan())) == 30


def test_a_change_of_a_cell_runs_that_cell(fleet: Fleet) -> None:
    """With all its services."""
    us = fleet.around.project.root / "cells" / "us.yaml"
    us.write_text(us.read_text().replace("weight: 20", "weight: 21"))
    assert deployed(fleet.plan()) == {
        f"us-west-2.{service}" for service in ("storage", "directory", "ingest", "router", "query")
    }


def test_all_keeps_nothing(fleet: Fleet) -> None:
    """Each step has its digest all the same."""
    plan = fleet.plan("v1", everything=True)
    assert (len(deployed(plan)), {bool(step.inputs) for step in plan.steps}) == (30, {True})


def test_one_cell_by_hand_keeps_too(fleet: Fleet) -> None:
    """The control plane's as well."""
    for cell in ("us-west-2", "control"):
        assert not deployed(plan_up(fleet.around, fleet.v1, cell))
        assert deployed(plan_up(fleet.around, fleet.v1, cell, everything=True))


STACK = "us-east-1.query"


def test_what_an_attempt_left_unknown_is_not_kept(fleet: Fleet) -> None:
    """Though the digest of what was proven last is the same."""
    fleet.around.records.set_stack(replace(fleet.row(STACK), known=False))
    assert deployed(fleet.plan("v1")) == {STACK}


def test_what_is_held_is_not_kept(fleet: Fleet) -> None:
    """What runs it is to get rid of it."""
    fleet.around.store.hold(fleet.v1.digest, "it loses events", "v1-1")
    fleet.edit("waves.yaml")
    assert len(deployed(fleet.plan())) == 30


@pytest.mark.parametrize("inputs", ["", "i0:5"])
def test_what_was_made_in_another_way_is_not_kept(fleet: Fleet, inputs: str) -> None:
    """A record of before has no digest, one of another scheme has another."""
    fleet.around.records.set_stack(replace(fleet.row(STACK), inputs=inputs))
    assert deployed(fleet.plan("v1")) == {STACK}


@pytest.mark.parametrize(
    "there",
    [
        None,
        ran(STACK, None, AT + 60),
        ran(STACK, "f" * 64, AT + 60),
        ran(STACK, None, AT + 60).model_copy(update={"trouble": "it can't be read"}),
        BackendStack(project="audit", name=STACK, resources=5, written_at=AT + 60),
    ],
    ids=["gone", "by hand", "another release", "unreadable", "cut off"],
)
def test_what_drifted_is_not_kept(fleet: Fleet, there: BackendStack | None) -> None:
    """The state backend says so."""
    if there:
        fleet.backend.there[STACK] = there
    else:
        del fleet.backend.there[STACK]
    assert deployed(fleet.plan("v1")) == {STACK}


NEEDING = {f"us-east-1.{service}" for service in ("directory", "ingest", "router", "query")}


def test_what_needs_a_stack_that_runs_is_not_kept(fleet: Fleet) -> None:
    """The same digest put there again may bring other outputs: what AWS names anew, what somebody had put instead."""
    fleet.backend.there["us-east-1.storage"] = ran("us-east-1.storage", None, AT + 60)
    assert deployed(fleet.plan("v1")) == {"us-east-1.storage", *NEEDING}


def test_what_was_put_there_before_what_it_needs_is_not_kept(fleet: Fleet) -> None:
    """As a way back leaves it: the needed goes last, so what needs it has read outputs of the release that went."""
    stack = "us-east-1.storage"
    fleet.around.records.set_stack(replace(fleet.row(stack), at=AT + 60))
    fleet.backend.there[stack] = ran(stack, fleet.v1.digest, AT + 60)
    assert deployed(fleet.plan("v1")) == NEEDING


def test_nothing_is_kept_when_nobody_knows_what_runs(fleet: Fleet) -> None:
    """The state backend is away."""
    fleet.backend.away = True
    assert len(deployed(fleet.plan("v1"))) == 30


def test_a_release_of_before_is_deployed_as_it_was(fleet: Fleet) -> None:
    """Its programs know of no digest: none is proved, and a way back goes to what was made of one."""
    old = fleet.v1.model_copy(update={"version": "v0", "views": False})
    root = fleet.around.project.root
    fleet.around.store.put(old, {path: (root / path).read_bytes() for path in old.files})
    plan = plan_for(fleet.around, old)
    assert {(step.inputs, bool(step.before), step.kept) for step in plan.steps} == {("", True, "")}
