"""What a rollout can be asked for by anybody: nothing is printed or asked, what would be lost is agreed to first."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellwave.errors import BadInput
from cellwave.project import Project
from cellwave.rollout.records import StackRow
from cellwave.usecases.rollouts import begin_reverse, command, find, summaries, views, way_back
from cellwave.usecases.surroundings import Surroundings
from tests.cli.conftest import copy_of_this, work_in
from tests.rollout.plans import NEW, plan
from tests.rollout.states import converged, record

LOST = "takes query away in eu-west-1: nothing ran there before"


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    """A project in which v2-1 has brought two services to a cell where nothing ran, and nobody starts a worker."""
    root = copy_of_this(tmp_path)
    work_in(root, monkeypatch)
    monkeypatch.setattr("cellwave.usecases.rollouts.ensure_worker", lambda *_: False)
    Project(root).make_home()
    around = Surroundings(Project(root))
    made = plan([["eu-west-1"]], previous=None)
    record(around.records, converged("v2-1", made), around.target)
    for step in made.steps:
        around.records.set_stack(StackRow(step.deployment, around.target, NEW, {}, 1.0))
    return around


@pytest.mark.parametrize("agreed", [(), ("takes query away in us-west-2: nothing ran there before",)])
def test_a_way_back_takes_nothing_away_that_nobody_agreed_to(
    around: Surroundings, agreed: tuple[str, ...]
) -> None:
    """Agreement to something else is none: what would be lost may have changed since it was shown."""
    with pytest.raises(BadInput, match=LOST):
        begin_reverse(around, "v2-1", "customers complain", agreed)
    assert [found.id for found in summaries(around)] == ["v2-1"]


def test_what_a_way_back_says_is_lost_is_what_is_agreed_to(around: Surroundings) -> None:
    """The words come from `way_back` and go into `begin_reverse`; the new rollout says who asked, and why."""
    back = way_back(around, "v2-1")
    assert (LOST in back.lost, back.left) == (True, ())
    new = begin_reverse(around, "v2-1", "customers complain", back.lost)
    found = find(around, None)
    assert (found.id, found.status, found.reason) == (
        new,
        "rolling_back",
        "ann asked for it: customers complain",
    )
    assert [seen.id for seen in views(around)] == [new, "v2-1"]


def test_what_it_takes_is_the_name_of_a_rollout_that_is_there(around: Surroundings) -> None:
    """Names may come from anywhere; the known ones are said."""
    for ask in (way_back, find):
        with pytest.raises(BadInput, match="v2-7") as caught:
            ask(around, "v2-7")
        assert caught.value.expected == "one of v2-1"


def test_nothing_is_printed(around: Surroundings, capsys: pytest.CaptureFixture[str]) -> None:
    """Who shows it decides where and how: here it is told, and nobody listens."""
    way_back(around, "v2-1")
    with pytest.raises(BadInput, match="it has ended: done"):
        command(around, find(around, "v2-1"), "pause", "")
    assert capsys.readouterr() == ("", "")
