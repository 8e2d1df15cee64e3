"""`cellwave down`: what may be taken away, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellwave.errors import BadInput
from cellwave.fleet.model import Place, Service
from cellwave.usecases.removing import Removable, choose
from tests.cli.conftest import Run

PLACE = Place(cell="here", account="200000000001", aws_region="eu-west-1")


def standing(name: str, *needs: str, stateful: bool = False, release: str = "abc") -> Removable:
    """A stack of the cell."""
    service = Service(name=name, program=name, needs=needs, stateful=stateful)
    return Removable(f"here.{name}", release, Path(), service, PLACE)


CELL = [standing("storage", stateful=True), standing("ingest", "storage"), standing("query", "storage")]


def test_a_cell_goes_the_last_of_its_needs_first() -> None:
    """Data goes last, and only when somebody says why."""
    assert [s.stack for s in choose(CELL, "here", "moved")] == ["here.query", "here.ingest", "here.storage"]


def test_one_stack_goes_alone() -> None:
    """The others stay."""
    assert [s.stack for s in choose(CELL, "here.query", "")] == ["here.query"]


@pytest.mark.parametrize(
    ("name", "one_way", "why"),
    [
        ("here", "", "here.storage is stateful"),
        ("here.storage", "moved", "here.query needs storage"),
        ("here.quary", "", "none of that name"),
    ],
)
def test_what_must_stay_is_named(name: str, one_way: str, why: str) -> None:
    """Data without a reason, what another needs, and what isn't there."""
    there = CELL[:1] + CELL[2:] if "needs" in why else CELL
    with pytest.raises(BadInput, match=why):
        choose(there, name, one_way)


def test_what_is_not_there_needs_nothing() -> None:
    """A service that was never deployed keeps no other."""
    there = [standing("storage"), standing("query", "storage", release="")]
    assert [s.stack for s in choose(there, "here.storage", "")] == ["here.storage"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("us-wst-2",), "did you mean 'us-west-2'?"),
        (("us-west-2", "--yes"), "us-west-2.storage is stateful"),
        (("us-west-2.query",), "nobody can be asked here"),
    ],
)
def test_bad_input_changes_nothing(project: Path, run: Run, arguments: tuple[str, ...], why: str) -> None:
    """It ends with 2 and says what would be right."""
    ran = run("down", *arguments)
    assert ran.code == 2
    assert why in ran.err
