"""A plan in words and pictures."""

from __future__ import annotations

import re

import pytest

from cellwave.errors import BadInput
from cellwave.fleet.model import Fleet
from cellwave.release import Release
from cellwave.waves.explain import summed, tally, to_dot, to_mermaid, to_rows, why
from cellwave.waves.model import Plan
from cellwave.waves.parse import parse_strategy
from cellwave.waves.planner import make_plan, make_rollback

WAVES = """\
concurrency: 2
bake: {seconds: 10, samples: 30, limit: 60}
waves:
  - {name: canary, cells: [ap-south-1]}
  - {name: early, cells: [eu-west-1]}
  - {name: broad, regions: [us, jp], approve: true}
"""


@pytest.fixture
def plan(fleet: Fleet) -> Plan:
    """The plan of v2 for this repository's fleet; eu-west-1 runs nothing yet."""
    strategy = parse_strategy(WAVES, fleet)
    running = {stack: "old" for stack in fleet.stacks if not stack.startswith("eu-west-1")}
    return make_plan(fleet, strategy, Release(version="v2", files={}, code={}), running)


@pytest.fixture
def back(plan: Plan) -> Plan:
    """The way back of everything in ap-south-1, and of the storage of eu-west-1."""
    return make_rollback(plan, [step.deployment for step in plan.steps[:6]])


def test_a_row_a_cell(plan: Plan) -> None:
    """A table's rows follow the plan, and say order, concurrency, bake and reason in words."""
    rows = to_rows(plan)
    assert [row.cell for row in rows] == list(plan.cells)
    assert rows[0]._asdict() == {
        "wave": "1 canary",
        "cell": "ap-south-1",
        "services": "storage, then directory, ingest, router and query",
        "concurrency": "one cell at a time",
        "bake": "bake 10 s and 30 samples, 60 s at most",
        "why": "named by the wave; 5% of the traffic",
    }
    assert rows[-1].concurrency == "2 cells at once, after a person's approval"


def test_of_a_large_wave_cells_that_are_alike_are_one_row(fleet: Fleet) -> None:
    """A person reads thirty rows, and no thousand; whoever differs in what is done there has a row of its own."""
    region = fleet.regions[0]
    cells = tuple(region.cells[0].model_copy(update={"name": f"c{n}", "failover": None}) for n in range(31))
    fleet = fleet.model_copy(update={"regions": (region.model_copy(update={"cells": cells}),)})
    strategy = parse_strategy(f"waves: [{{name: all, regions: [{region.name}]}}]", fleet)
    left = {"c7.query": "something was tried there"}
    plan = make_plan(fleet, strategy, Release(version="v2", files={}, code={}), {}, unproven=left)
    usual = "storage, then directory, ingest, router and query"
    rows = summed(to_rows(plan))
    assert [(row.cell, row.services) for row in rows] == [
        ("c0, c1, c10 and 27 more", usual),
        ("c7", f"{usual}; no way back for query: something was tried there"),
    ]
    assert rows[0].why == f"selected by region {region.name}; each cell's own with --why CELL"
    few = make_plan(fleet, strategy, Release(version="v2", files={}, code={}), {}, plan.cells[:30])
    assert summed(to_rows(few)) == to_rows(few)


def test_rows_of_the_way_back_name_what_is_left(back: Plan) -> None:
    """A cell without an old release has a row without services, and the reason."""
    assert [(row.cell, row.services, row.bake) for row in to_rows(back)] == [
        ("ap-south-1", "query, router, ingest and directory, then storage", "no bake"),
        ("eu-west-1", "", "no bake"),
    ]
    assert "no release ran there before" in to_rows(back)[1].why


def test_why_answers_in_sentences(plan: Plan) -> None:
    """On-call reads where a cell stands, and what it waits for."""
    text = why(plan, "us-east-1")
    assert (
        "us-east-1 is in wave 3 (broad): selected by region us; 30% of the traffic; after us-west-2" in text
    )
    assert "It waits for wave 2 (early): bake 10 s and 30 samples, 60 s at most." in text
    assert "Meanwhile a preview tells what becomes of storage." in text
    assert "Meanwhile" not in why(plan, "eu-west-1"), "nothing runs there yet"
    assert "In its wave it waits for us-west-2." in text
    assert "Order of its services: storage, then directory, ingest, router and query." in text


def test_why_knows_what_the_way_back_leaves(back: Plan) -> None:
    """A cell that is left as it is has an answer too."""
    assert "eu-west-1.storage keeps its data: no release ran there before" in why(back, "eu-west-1")


def test_why_of_a_cell_outside_the_plan_is_refused(plan: Plan) -> None:
    """An unknown cell is answered with the nearest one of the plan."""
    with pytest.raises(BadInput, match="'us-east1' is not in the plan") as caught:
        why(plan, "us-east1")
    assert "did you mean 'us-east-1'?" in caught.value.expected


def test_a_lowered_concurrency_is_explained(fleet: Fleet) -> None:
    """When the budget slows a wave, its rows and its cells say so."""
    strategy = parse_strategy(f"budget: 0.4\n{WAVES.replace(', approve: true', '')}", fleet)
    slowed = make_plan(fleet, strategy, Release(version="v2", files={}, code={}), {})
    note = "2 could carry 50% of the traffic, over the budget of 40%"
    assert to_rows(slowed)[-1].concurrency == f"one cell at a time ({note})"
    assert f"Its wave changes one cell at a time: {note}." in why(slowed, "us-east-1")


def test_dot_draws_every_step_edge_and_bake(plan: Plan, back: Plan) -> None:
    """The Graphviz picture has a cluster a wave and a cell, all edges, a bake between waves, and balanced braces."""
    for picture in (to_dot(plan), to_dot(back)):
        assert picture.count("{") == picture.count("}")
    dot = to_dot(plan)
    assert dot.count("subgraph cluster_") == len(plan.waves) + len(plan.cells)
    assert len(re.findall(r"^ +w\d_\w+ -> w\d_\w+;$", dot, re.M)) == sum(len(s.after) for s in plan.steps)
    assert 'label="bake 10 s and 30 samples, 60 s at most"' in dot
    assert "back from v2" in to_dot(back)
    assert "nothing to change" in to_dot(make_rollback(plan, ["eu-west-1.storage"]))


def test_mermaid_draws_every_step_edge_and_bake(plan: Plan, back: Plan) -> None:
    """The Mermaid picture has the same parts, and every subgraph ends."""
    for picture in (to_mermaid(plan), to_mermaid(back)):
        assert len(re.findall(r"^ +subgraph ", picture, re.M)) == len(re.findall(r"^ +end$", picture, re.M))
    text = to_mermaid(plan)
    assert len(re.findall(r" --> ", text)) == sum(len(step.after) for step in plan.steps)
    assert text.count(" ==> ") == len(plan.waves) - 1
    assert 'w2_us_east_1__query("query")' in text


@pytest.fixture
def thrifty(plan: Plan) -> Plan:
    """A plan that keeps the storages."""
    waves = (
        wave.model_copy(
            update={
                "steps": tuple(
                    step.model_copy(
                        update={"kept": "inputs unchanged since v1"} if step.service == "storage" else {}
                    )
                    for step in wave.steps
                )
            }
        )
        for wave in plan.waves
    )
    return plan.model_copy(update={"waves": tuple(waves)})


def test_what_is_kept_is_counted_and_marked(thrifty: Plan, plan: Plan) -> None:
    """In words and in both pictures; a plan that keeps nothing says only what it deploys."""
    assert (tally(thrifty), tally(plan)) == ("24 to deploy, 6 kept", "30 to deploy")
    assert to_rows(thrifty)[0].services == "storage (kept), then directory, ingest, router and query"
    assert "storage is kept: inputs unchanged since v1." in why(thrifty, "us-east-1")
    assert to_dot(thrifty).count('[label="storage (kept)", style="rounded,dashed"]') == 6
    assert to_mermaid(thrifty).count('("storage (kept)")') == 6
    assert "24 to deploy, 6 kept" in to_dot(thrifty)
