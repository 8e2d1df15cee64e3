"""waves.yaml becomes a Strategy, or an error that names file and line."""

from __future__ import annotations

import pytest

from cellwave.errors import BadInput
from cellwave.fleet.model import Fleet
from cellwave.project import Project
from cellwave.waves.model import Bake
from cellwave.waves.parse import parse_strategy

GOOD = """\
concurrency: 2
bake: {seconds: 10, samples: 30, limit: 60}
waves:
  - name: canary
    labels: {ring: canary}
  - name: early
    cells: [eu-west-1]
  - name: broad
    regions: [us, jp]
"""


def test_the_projects_own_waves_hold(project: Project, fleet: Fleet) -> None:
    """This repository's waves.yaml goes from the canary to the pairs of us and jp."""
    strategy = parse_strategy(project.waves_file(), fleet)
    assert [wave.name for wave in strategy.waves] == ["canary", "early", "broad"]


def test_a_bake_without_limit_is_never_extended(fleet: Fleet) -> None:
    """The limit that nobody wrote is the seconds: of the whole, and of a wave with a bake of its own."""
    text = GOOD.replace(", limit: 60", "").replace("[eu-west-1]", "[eu-west-1]\n    bake: {seconds: 5}")
    strategy = parse_strategy(text, fleet)
    assert strategy.bake == Bake(seconds=10, samples=30, limit=10)
    assert strategy.waves[1].bake == Bake(seconds=5, limit=5)


@pytest.mark.parametrize(
    ("old", "new", "where", "found", "expected"),
    [
        ("concurrency: 2", "concurency: 2", 1, "unknown key 'concurency'", "did you mean 'concurrency'?"),
        ("concurrency: 2", "concurrency: 0", 1, "concurrency is 0", "greater than or equal to 1"),
        ("concurrency: 2", "concurrency: two", 1, "concurrency is 'two' (a text)", "a whole number"),
        ("seconds: 10", "seconds: -10", 2, "bake.seconds is -10", "greater than or equal to 0"),
        ("samples: 30", "samples: -1", 2, "bake.samples is -1", "greater than or equal to 0"),
        ("limit: 60", "limit: 9", 2, "a bake with limit 9 below its seconds 10", "limit: 10 or more"),
        ("[us, jp]", "[us, jp]\n    bake: {seconds: 5,\n      limit: 4}", 11, "limit 4 below", "limit: 5 or more"),
        ("concurrency: 2", "budget: 1.5", 1, "budget is 1.5", "less than or equal to 1"),
        ("concurrency: 2", "budget: 0.2", 1, "20.0% of the traffic, but us-east-1 alone carries 30.0%", "0.3"),
        ("[eu-west-1]", "[eu-west1]", 7, "'eu-west1', which is not a cell", "did you mean 'eu-west-1'?"),
        ("[eu-west-1]", "[eu-west-1,\n      control]", 8, "control is the control plane", "`cellwave up control`"),
        ("[eu-west-1]", "[]", 6, "wave early names no cell", "cells: […], regions: […] or labels"),
        ("[eu-west-1]", "eu-west-1", 7, "waves[1].cells is 'eu-west-1' (a text)", "a list"),
        ("[us, jp]", "[us, japan]", 9, "wave broad names 'japan', which is not a region", "known regions: ap-s"),
        ("ring: canary", "ring: canry", 5, "selects by ring=canry, which no cell has", "did you mean 'ring=canary'?"),
        ("[us, jp]", "[us, jp]\n    labels: {ring: early}", 10, "which no cell in us, jp has", "ring=broad"),
        ("[us, jp]", "[us]", 3, "ap-northeast-1, ap-northeast-2 are in no wave", "exactly one wave"),
        ("[us, jp]", "[us, jp, eu-west-1]", 8, "eu-west-1 is in two waves: early (waves.yaml:6) and broad", "one wave"),
        ("name: early", "name: canary", 6, "two waves named canary (also waves.yaml:4)", "a name of its own"),
        ("name: early", "name: Early", 6, "waves[1].name is 'Early'", "lower-case letters"),
        ("    regions", "    region", 9, "unknown key 'region'", "did you mean 'regions'?"),
        ("  - name: early\n", "  -\n", 7, "the key 'name' is missing in waves[1]", "required"),
        ("waves:\n", "concurrency: 3\nwaves:\n", 3, "duplicate key 'concurrency'", "once"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_file_and_line(
    *, fleet: Fleet, old: str, new: str, where: int, found: str, expected: str
) -> None:
    """Each mistake: where it is written, what was found, what would be right; exit code 2."""
    assert old in GOOD
    with pytest.raises(BadInput) as caught:
        parse_strategy(GOOD.replace(old, new, 1), fleet)
    assert (caught.value.where, caught.value.exit_code) == (f"waves.yaml:{where}", 2)
    assert found in caught.value.found
    assert expected in caught.value.expected


def test_a_file_without_waves_is_refused(fleet: Fleet) -> None:
    """There is no default strategy: who changes what together is a person's decision."""
    with pytest.raises(BadInput, match=r"waves.yaml:1: the key 'waves' is missing"):
        parse_strategy("concurrency: 1\n", fleet)


@pytest.mark.parametrize(
    "text", ["waves: 1", "waves: [1]", "waves: []", "bake: 1\nwaves: []", "waves:\n- a: 1"]
)
def test_whatever_stands_in_place_of_waves_is_refused(fleet: Fleet, text: str) -> None:
    """A wrong shape is bad input, never another error."""
    with pytest.raises(BadInput):
        parse_strategy(text, fleet)
