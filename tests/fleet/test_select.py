"""Cells are chosen by name, by region and by label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from cellwave.errors import BadInput
from cellwave.fleet.model import Fleet
from cellwave.fleet.parse import parse_fleet
from cellwave.fleet.select import cells_named, select
from cellwave.project import find_project


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """This repository's fleet."""
    return parse_fleet(find_project(Path(__file__)).config_files())


@pytest.mark.parametrize(
    ("cells", "regions", "labels", "chosen"),
    [
        ((), (), {}, ()),
        (("eu-west-1",), (), {}, ("eu-west-1",)),
        ((), ("us",), {}, ("us-west-2", "us-east-1")),
        ((), (), {"ring": "canary"}, ("ap-south-1",)),
        ((), ("us", "eu-west-1"), {"ring": "broad"}, ("us-west-2", "us-east-1")),
        (("ap-south-1",), ("us",), {}, ("ap-south-1", "us-west-2", "us-east-1")),
        (("us-east-1",), ("us",), {}, ("us-west-2", "us-east-1")),
        (("control",), (), {}, ()),
    ],
)
def test_names_add_to_what_region_and_labels_select(
    fleet: Fleet, cells: Sequence[str], regions: Sequence[str], labels: dict[str, str], chosen: Sequence[str]
) -> None:
    """Named cells, and those that are in a region and have all labels; never twice, never the control plane."""
    assert tuple(c.name for c in select(fleet, cells=cells, regions=regions, labels=labels)) == tuple(chosen)


def test_named_cells_come_in_the_fleets_order(fleet: Fleet) -> None:
    """The order of asking does not matter."""
    assert [c.name for c in cells_named(fleet, ["us-east-1", "ap-south-1"], "--cells")] == [
        "ap-south-1",
        "us-east-1",
    ]


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        ("us-west2", "'us-west2' is not a cell", "did you mean 'us-west-2'?"),
        ("control", "control is the control plane", "in no wave"),
    ],
)
def test_a_name_that_is_no_cells_is_refused(fleet: Fleet, name: str, found: str, expected: str) -> None:
    """An unknown cell is answered with the nearest known one."""
    with pytest.raises(BadInput) as caught:
        cells_named(fleet, ["us-east-1", name], "--cells")
    assert caught.value.where == "--cells"
    assert found in caught.value.found
    assert expected in caught.value.expected


def test_a_changed_fleet_knows_its_own_cells(fleet: Fleet) -> None:
    """A copy with other regions looks cells up among these, whatever was looked up before."""
    region = fleet.regions[0]
    assert fleet.region_of(region.cells[0].name) == region
    cell = region.cells[0].model_copy(update={"name": "new"})
    other = fleet.model_copy(update={"regions": (region.model_copy(update={"cells": (cell,)}),)})
    assert other.cell("new") == cell
    assert other.region_of(region.cells[0].name) is None
