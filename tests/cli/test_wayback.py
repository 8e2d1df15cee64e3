"""The way back of an ended rollout: what would be gone for good is named, and asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cellwave.cli.here import here
from cellwave.project import Project
from cellwave.rollout.model import Outcome
from cellwave.rollout.records import Records, StackRow
from cellwave.waves.model import Plan
from tests.cli.conftest import Run
from tests.rollout.plans import NEW, OLD, plan
from tests.rollout.states import converged, record, with_head


def with_door(made: Plan) -> Plan:
    """The plan, through a one-way door of storage."""
    (wave,) = made.waves
    steps = tuple(
        s.model_copy(update={"one_way": "the table moves"} if s.stateful else {}) for s in wave.steps
    )
    return made.model_copy(update={"waves": (wave.model_copy(update={"steps": steps}),)})


DOOR = "takes data of storage away in eu-west-1, as its one-way door allows: the table moves"
CASES = [
    (plan([["eu-west-1"]], previous=None), "takes query away in eu-west-1: nothing ran there before"),
    (with_door(plan([["eu-west-1"]], previous=OLD)), DOOR),
]


def ended(project: Path, made: Plan) -> Records:
    """A rollout v2-1 that is done."""
    Project(project).make_home()
    context = here()
    record(context.records, converged("v2-1", made), context.target)
    for step in made.steps:
        context.records.set_stack(StackRow(step.deployment, context.target, NEW, {}, 1.0))
    return context.records


@pytest.mark.parametrize(("made", "said"), CASES, ids=["services", "data"])
def test_nobody_to_ask_changes_nothing(project: Path, run: Run, made: Plan, said: str) -> None:
    """It ends with 2, names what would be gone and where, and says --yes."""
    records = ended(project, made)
    ran = run("rollout", "rollback", "v2-1")
    assert (ran.code, said in ran.err, "--yes" in ran.err) == (2, True, True), ran.err
    assert [row.id for row in records.rollouts()] == ["v2-1"]


@pytest.mark.parametrize(("outcome", "code"), [("rolled_back", 3), ("done", 2)])
def test_who_comes_last_with_a_rollback_is_told_what_became_of_it(
    project: Path, run: Run, outcome: Outcome, code: int
) -> None:
    """All went back already: that is what was wanted. Of a rollout that never went back, there is nothing to take."""
    Project(project).make_home()
    context, made = here(), plan([["eu-west-1"]], previous=OLD)
    record(
        context.records,
        with_head(converged("v2-1", made), outcome=outcome, reason="bob asked"),
        context.target,
    )
    for step in made.steps:
        context.records.set_stack(StackRow(step.deployment, context.target, OLD, {}, 1.0))
    ran = run("rollout", "rollback", "v2-1")
    assert (ran.code, ran.err.count("gone back: bob asked")) == (code, int(outcome == "rolled_back")), ran.err
    assert [row.id for row in context.records.rollouts()] == ["v2-1"]


@pytest.mark.parametrize("case", [([], "n", False), ([], "y", True), (["--yes"], "", True)])
def test_a_person_decides(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch, case: tuple[list[str], str, bool]
) -> None:
    """Asked at a terminal, or beforehand by --yes."""
    arguments, answer, begun = case
    ended(project, CASES[1][0])
    asked: list[str] = []

    def confirm(question: str, **_: object) -> bool:
        asked.append(question)
        return answer == "y"

    monkeypatch.setattr("typer.confirm", confirm)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("cellwave.usecases.rollouts.wake", lambda _: False)
    monkeypatch.setattr("cellwave.cli.rollout.follow", lambda *_: 0)
    ran = run("rollout", "rollback", "v2-1", *arguments)
    assert ran.code == (0 if begun else 1), ran.err
    assert [DOOR in question for question in asked] == ([True] if answer else [])
    known = [row["rollout"] for row in json.loads(run("rollout", "list", "--json").out)]
    assert known == (["v2-2", "v2-1"] if begun else ["v2-1"])


def test_what_ran_before_goes_back_without_a_question(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is gone for good."""
    ended(project, plan([["eu-west-1"]]))
    monkeypatch.setattr("cellwave.usecases.rollouts.wake", lambda _: False)
    monkeypatch.setattr("cellwave.cli.rollout.follow", lambda *_: 0)
    assert run("rollout", "rollback", "v2-1").code == 0
