"""`cellwave gc` keeps what a worker keeps, unless it is told another number."""

from __future__ import annotations

import json
from pathlib import Path

from cellwave.cli.here import here
from cellwave.deploy.attempt import attempts_in
from cellwave.rollout.records import KEPT
from tests.cli.conftest import Run
from tests.rollout.test_gc import rollout


def test_a_command_without_a_number_removes_no_more_than_a_worker(project: Path, run: Run) -> None:
    """Of the newest KEPT ended rollouts all stays; --keep says otherwise."""
    assert project.exists()
    context = here()
    names = [rollout(context.records, context.project.home, number) for number in range(1, KEPT + 3)]

    def left() -> set[str]:
        return {name.split(":")[0] for name, _ in attempts_in(context.project.home)}

    gone = json.loads(run("gc", "--json").out)
    assert (gone["attempts"], gone["kept"], left()) == (2, KEPT, set(names[2:]))
    assert run("gc", "--keep", "1").code == 0
    assert left() == set(names[-1:])
