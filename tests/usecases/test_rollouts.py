"""What a rollout can be asked for by anybody: nothing is printed or asked, what would be lost is agreed to first."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellwave.errors import BadInput, Leased
from cellwave.project import Project
from cellwave.rollout.records import StackRow
from cellwave.usecases.rollouts import (
    begin_again,
    begin_reverse,
    begin_up,
    command,
    find,
    stories,
    summaries,
    way_back,
)
from cellwave.usecases.surroundings import Surroundings
from tests.cli.conftest import copy_of_this, work_in
from tests.rollout.plans import NEW, plan
from tests.rollout.states import converged, put, record, with_head

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
    assert [seen.id for seen in stories(around)] == [new, "v2-1"]


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


def test_up_is_a_rollout_to_one_cell(around: Surroundings) -> None:
    """It has a name of its own, leases the cell, and says that it is by hand; the control plane's cell is one too."""
    name = begin_up(around, "us-west-2")
    state = around.records.state(name)
    assert (name, begin_up(around, "control")) == ("up-us-west-2-1", "up-control-1")
    assert around.records.leases() == {"us-west-2": name, "control": "up-control-1"}
    assert state.forward.plan.by_hand
    assert [step.service for step in state.forward.plan.steps] == [
        "storage",
        "directory",
        "ingest",
        "router",
        "query",
    ]
    with pytest.raises(Leased, match="us-west-2 by up-us-west-2-1"):
        begin_up(around, "us-west-2")
    assert len(summaries(around)) == 3


def test_up_knows_what_its_way_back_goes_to(around: Surroundings) -> None:
    """What was last proven there; where something was tried and nothing proven, it says so before it begins."""
    tried = StackRow("us-west-2.storage", around.target, None, {}, 1.0, known=False)
    around.records.set_stack(tried)
    proven = [
        step.previous for step in around.records.state(begin_up(around, "eu-west-1")).forward.plan.steps
    ]
    assert proven == [NEW, None, NEW, None, NEW], "of the directory and the router nothing is recorded"
    storage = around.records.state(begin_up(around, "us-west-2")).forward.plan.steps[0]
    assert (storage.previous, "nothing was ever proven" in storage.unproven) == (None, True)


def test_an_up_that_has_ended_is_taken_back_and_begun_again_under_its_own_name(around: Surroundings) -> None:
    """Each is an `up` of that cell, and nothing else."""
    state = around.records.state(begin_up(around, "us-west-2"))
    put(around.records, with_head(converged(state.rollout, state.forward.plan), begun=True))
    assert begin_again(around, "up-us-west-2-1") == "up-us-west-2-2"
    put(around.records, with_head(around.records.state("up-us-west-2-2"), outcome="failed"))
    for step in state.forward.plan.steps:
        row = StackRow(step.deployment, around.target, step.release, {}, 1.0)
        around.records.set_stack(row)
    lost = way_back(around, "up-us-west-2-1").lost
    assert begin_reverse(around, "up-us-west-2-1", "customers complain", lost) == "up-us-west-2-3"
    assert around.records.state("up-us-west-2-3").forward.plan.by_hand


def test_a_command_without_a_name_means_no_up(around: Surroundings) -> None:
    """What somebody does to one cell meanwhile is not taken back by mistake, whether it runs or has ended."""
    begin_up(around, "us-west-2")
    assert find(around, None).id == "v2-1"
    put(around.records, with_head(around.records.state("up-us-west-2-1"), outcome="done"))
    assert find(around, None).id == "v2-1"
    assert find(around, "up-us-west-2-1").status == "done"
