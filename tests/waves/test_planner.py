"""Plans of this repository's own fleet: who is changed when, how many at once, and the way back."""

from __future__ import annotations

import pytest

from cellwave.errors import BadInput
from cellwave.fleet.model import Fleet, Service
from cellwave.project import Project
from cellwave.release import Release
from cellwave.waves.explain import to_dot, to_mermaid, to_rows, why
from cellwave.waves.model import Bake, Plan, Strategy, Wave
from cellwave.waves.parse import parse_strategy
from cellwave.waves.planner import Inputs, make_plan, make_rollback, plan_cell

RELEASE = Release(version="v2", files={}, code={})
ALL = ("ap-south-1", "eu-west-1", "us-west-2", "us-east-1", "ap-northeast-1", "ap-northeast-2")


@pytest.fixture
def strategy(project: Project, fleet: Fleet) -> Strategy:
    """This repository's waves.yaml."""
    return parse_strategy(project.waves_file(), fleet)


@pytest.fixture
def plan(fleet: Fleet, strategy: Strategy) -> Plan:
    """The plan of a release while `old` runs everywhere but in eu-west-1, where nothing runs."""
    running = {stack: "old" for stack in fleet.stacks if not stack.startswith("eu-west-1")}
    return make_plan(fleet, strategy, RELEASE, running)


def one_wave(concurrency: int, budget: float) -> Strategy:
    """All cells of the fleet in one wave."""
    return Strategy(waves=(Wave(name="all", cells=ALL, concurrency=concurrency),), budget=budget)


def test_the_fleet_goes_in_three_waves_lighter_cells_first(plan: Plan) -> None:
    """The canary, then Europe, then both pairs, each pair's lighter cell first."""
    assert [(wave.number, wave.name, wave.cells) for wave in plan.waves] == [
        (1, "canary", ("ap-south-1",)),
        (2, "early", ("eu-west-1",)),
        (3, "broad", ("ap-northeast-2", "ap-northeast-1", "us-west-2", "us-east-1")),
    ]


def test_the_second_of_a_pair_waits_for_all_last_services_of_the_first(plan: Plan) -> None:
    """In us-east-1 nothing starts before all of us-west-2 has converged."""
    after = {step.deployment: step.after for step in plan.steps}
    assert after["us-east-1.storage"] == (
        "us-west-2.directory",
        "us-west-2.ingest",
        "us-west-2.query",
        "us-west-2.router",
    )
    assert after["us-west-2.storage"] == ()
    assert after["us-east-1.query"] == ("us-east-1.storage",)


def test_the_control_plane_is_in_no_plan(plan: Plan) -> None:
    """What all cells share is never changed by a wave."""
    assert "control" not in plan.cells


def test_steps_say_what_runs_and_what_ran(plan: Plan) -> None:
    """Each step carries the release's digest and the one before; None where nothing ran."""
    steps = {step.deployment: step for step in plan.steps}
    assert (steps["us-west-2.query"].release, steps["us-west-2.query"].previous) == (RELEASE.digest, "old")
    assert steps["eu-west-1.query"].previous is None


def test_reasons_say_why_a_cell_stands_where_it_stands(plan: Plan) -> None:
    """In words: what selected it, its share of the traffic, its failover partner."""
    reasons = {cell: reason for wave in plan.waves for cell, reason in wave.reasons.items()}
    assert reasons["ap-south-1"] == "named by the wave; 5% of the traffic"
    assert reasons["us-east-1"] == (
        "selected by region us; 30% of the traffic; after us-west-2, its failover partner"
    )
    assert reasons["us-west-2"] == (
        "selected by region us; 20% of the traffic; before us-east-1, its failover partner"
    )


@pytest.mark.parametrize(
    ("asked", "budget", "given", "note"),
    [
        (6, 1.0, 6, ""),
        (9, 1.0, 6, ""),
        (2, 0.55, 2, ""),
        (2, 0.5, 1, "2 could carry 55% of the traffic, over the budget of 50%"),
        (6, 0.8, 3, "6 could carry 100% of the traffic, over the budget of 80%"),
        (6, 0.3, 1, "6 could carry 100% of the traffic, over the budget of 30%"),
    ],
)
def test_concurrency_is_lowered_until_the_heaviest_cells_fit_the_budget(
    fleet: Fleet, asked: int, budget: float, given: int, note: str
) -> None:
    """Any so many cells together carry at most the budget's share of the traffic, and the plan says so."""
    (wave,) = make_plan(fleet, one_wave(asked, budget), RELEASE, {}).waves
    assert (wave.concurrency, wave.note) == (given, note)


def test_a_cell_heavier_than_the_budget_is_refused(fleet: Fleet) -> None:
    """A cell can't be changed in part, so such a budget could never be kept."""
    with pytest.raises(BadInput) as caught:
        make_plan(fleet, one_wave(1, 0.29), RELEASE, {})
    assert caught.value.where == "waves.yaml: budget"
    assert "us-east-1 alone carries 30.0%" in caught.value.found
    assert "at least 0.3" in caught.value.expected


def test_an_unknown_cell_is_refused(fleet: Fleet, strategy: Strategy) -> None:
    """A plan of some cells names only cells that there are."""
    with pytest.raises(BadInput, match="'us-east-2' is not a cell"):
        make_plan(fleet, strategy, RELEASE, {}, ["us-east-2"])


def test_services_in_a_circle_are_refused(fleet: Fleet, strategy: Strategy) -> None:
    """A fleet made without the parser gets no plan that could never run."""
    ring = tuple(
        service.model_copy(update={"needs": (need,)})
        for service, need in zip(
            fleet.services, ("query", "storage", "directory", "ingest", "router"), strict=True
        )
    )
    with pytest.raises(BadInput, match=r"a cycle: .*query after router"):
        make_plan(fleet.model_copy(update={"services": ring}), strategy, RELEASE, {})


def test_the_way_back_reverses_cells_and_services(plan: Plan) -> None:
    """What was touched last goes back first, several cells at once, whatever waves they were in; nothing bakes."""
    back = make_rollback(plan, [step.deployment for step in plan.steps])
    assert (back.direction, back.release, back.version) == ("back", RELEASE.digest, "v2")
    [wave] = back.waves
    assert (wave.name, wave.bake, wave.concurrency) == ("back", Bake(), 4)
    assert wave.cells == tuple(reversed(plan.cells))
    assert [step.deployment for step in back.steps][-5:] == [
        "ap-south-1.query",
        "ap-south-1.router",
        "ap-south-1.ingest",
        "ap-south-1.directory",
        "ap-south-1.storage",
    ]


def test_on_the_way_back_a_cell_waits_for_no_other(plan: Plan) -> None:
    """A stuck cell holds up no other; that a pair is not in flight together is for the partners to say."""
    back = make_rollback(plan, [step.deployment for step in plan.steps])
    assert {name.split(".")[0] == step.cell for step in back.steps for name in step.after} == {True}
    assert back.partners["us-east-1"] == "us-west-2"
    assert back.partners["us-west-2"] == "us-east-1"


def test_a_plan_of_an_earlier_version_tells_its_pairs_by_what_waits_for_what(plan: Plan) -> None:
    """A rollout that was begun before plans had partners never has both of a pair in flight either."""
    old = plan.model_copy(update={"partners": {}})
    partners = make_rollback(old, [step.deployment for step in plan.steps]).partners
    assert partners == {"us-west-2": "us-east-1", "ap-northeast-2": "ap-northeast-1"}


def test_what_nobody_proved_is_left_where_it_stands(plan: Plan) -> None:
    """There is nothing known to be good to go back to, and it is not taken away; the plan says so."""
    wave = plan.waves[1]
    steps = tuple(s.model_copy(update={"unproven": "a literal pulumi up"}) for s in wave.steps)
    made = plan.model_copy(update={"waves": (plan.waves[0], wave.model_copy(update={"steps": steps}))})
    back = make_rollback(made, [step.deployment for step in made.steps])
    assert back.cells == ("ap-south-1",)
    assert "eu-west-1.query stays: a literal pulumi up" in back.waves[0].reasons["eu-west-1"]


def test_the_way_back_runs_each_deployments_own_old_release(fleet: Fleet, strategy: Strategy) -> None:
    """Cells that ran different releases go back to different ones."""
    running = {stack: f"old-{stack}" for stack in fleet.stacks}
    plan = make_plan(fleet, strategy, RELEASE, running)
    back = make_rollback(plan, ["ap-south-1.storage", "eu-west-1.storage"])
    assert [(step.release, step.previous) for step in back.steps] == [
        ("old-eu-west-1.storage", RELEASE.digest),
        ("old-ap-south-1.storage", RELEASE.digest),
    ]


def test_what_ran_nothing_before_is_taken_away_and_data_is_kept_and_named(plan: Plan) -> None:
    """There is no release to go back to in eu-west-1, and the plan says so where the cell stood."""
    back = make_rollback(plan, ["ap-south-1.storage", "eu-west-1.storage", "eu-west-1.query"])
    assert [(s.deployment, s.removes) for s in back.steps] == [
        ("eu-west-1.query", True),
        ("ap-south-1.storage", False),
    ]
    assert back.waves[0].steps[0].release == RELEASE.digest, "the program that made it"
    text = "touched by the rollout; eu-west-1.storage keeps its data: no release ran there before"
    assert back.waves[0].reasons == {"eu-west-1": text, "ap-south-1": "touched by the rollout"}


def test_a_one_way_door_is_shown_wherever_a_plan_is(fleet: Fleet, strategy: Strategy) -> None:
    """In the table, the pictures, the reasons, and when a person is asked; a way back has none."""
    why_not = 'the index moves to "v2"'
    services = tuple(s.model_copy(update={"one_way": why_not} if s.stateful else {}) for s in fleet.services)
    plan = make_plan(fleet.model_copy(update={"services": services}), strategy, RELEASE, {})
    door = f"one-way door storage: {why_not}"
    assert all(door in row.services for row in to_rows(plan))
    assert door in why(plan, "ap-south-1")
    assert door.replace('"', '\\"') in to_dot(plan)
    assert door.replace('"', "#quot;") in to_mermaid(plan)
    assert not make_rollback(plan, ["ap-south-1.storage"]).waves[0].doors


def test_what_ran_this_very_release_before_stays(fleet: Fleet, strategy: Strategy) -> None:
    """A deployment that the rollout did not change is not changed back."""
    running: dict[str, str | None] = dict.fromkeys(fleet.stacks, RELEASE.digest)
    plan = make_plan(fleet, strategy, RELEASE, {**running, "ap-south-1.query": "old"})
    back = make_rollback(plan, [step.deployment for step in plan.steps])
    assert [step.deployment for step in back.steps] == ["ap-south-1.query"]


def test_order_holds_across_services_that_were_not_touched(fleet: Fleet, strategy: Strategy) -> None:
    """What a service needs through one that has nothing to go back to still goes back after it."""
    chain = (
        Service(name="a", program="."),
        Service(name="b", program=".", needs=("a",)),
        Service(name="c", program=".", needs=("b",)),
    )
    fleet = fleet.model_copy(update={"services": chain})
    running: dict[str, str | None] = dict.fromkeys(fleet.stacks, "old")
    plan = make_plan(fleet, strategy, RELEASE, {**running, "us-west-2.b": RELEASE.digest}, ["us-west-2"])
    back = make_rollback(plan, [step.deployment for step in plan.steps])
    assert {step.deployment: step.after for step in back.steps} == {
        "us-west-2.c": (),
        "us-west-2.a": ("us-west-2.c",),
    }


def test_a_stranger_among_the_touched_is_an_error(plan: Plan) -> None:
    """A deployment of another plan can't be rolled back by this one."""
    with pytest.raises(KeyError):
        make_rollback(plan, ["elsewhere.query"])


def test_there_is_no_plan_of_no_cells(fleet: Fleet, strategy: Strategy) -> None:
    """A rollout of it could not even begin."""
    with pytest.raises(BadInput, match="cells: none is named"):
        make_plan(fleet, strategy, RELEASE, {}, [])


def test_a_plan_of_one_of_a_pair_names_the_other(fleet: Fleet, strategy: Strategy) -> None:
    """Whoever changes that one meanwhile is to be known; the control plane has none."""
    assert make_plan(fleet, strategy, RELEASE, {}, ["us-west-2"]).partners == {"us-west-2": "us-east-1"}
    assert plan_cell(fleet, RELEASE, "us-west-2", {}).partners == {"us-west-2": "us-east-1"}
    assert not plan_cell(fleet, RELEASE, "control", {}).partners


@pytest.mark.parametrize("cell", ["us-west-2", "control"])
def test_a_plan_by_hand_is_of_one_cell_in_the_order_of_its_needs(fleet: Fleet, cell: str) -> None:
    """Any cell, the control plane's too; what ran there before, and what nobody proved, is known as in other plans."""
    services = fleet.services_of(cell)
    first, *others = (f"{cell}.{service.name}" for service in services)
    made = plan_cell(
        fleet, RELEASE, cell, {first: "old"}, unproven=dict.fromkeys(others, "a literal pulumi up")
    )
    assert (made.by_hand, made.cells, [step.deployment for step in made.steps]) == (
        True,
        (cell,),
        [first, *others],
    )
    assert {step.deployment: step.after for step in made.steps} == {
        f"{cell}.{service.name}": tuple(sorted(f"{cell}.{need}" for need in service.needs))
        for service in services
    }
    assert [step.previous for step in made.steps] == ["old", *(None for _ in others)]
    assert {step.unproven for step in made.steps[1:]} <= {"a literal pulumi up"}


def test_a_step_says_what_it_is_made_of_and_why_it_is_kept(fleet: Fleet, strategy: Strategy) -> None:
    """The way back swaps the two digests, and keeps nothing: it is of what was touched."""
    running = dict.fromkeys(fleet.stacks, "old")
    inputs = {
        "ap-south-1.storage": Inputs("i1:a", "i1:a", "inputs unchanged since v1"),
        "ap-south-1.query": Inputs("i1:b", "i1:c"),
    }
    plan = make_plan(fleet, strategy, RELEASE, running, inputs=inputs)
    steps = {step.deployment: step for step in plan.steps}
    assert [step.deployment for step in plan.kept] == ["ap-south-1.storage"]
    assert steps["ap-south-1.storage"].kept == "inputs unchanged since v1"
    assert (steps["ap-south-1.query"].inputs, steps["ap-south-1.query"].before) == ("i1:b", "i1:c")
    assert (steps["ap-south-1.ingest"].inputs, steps["ap-south-1.ingest"].kept) == ("", "")
    back = {step.deployment: step for step in make_rollback(plan, list(steps)).steps}
    assert (back["ap-south-1.query"].inputs, back["ap-south-1.query"].before) == ("i1:c", "i1:b")
    assert not any(step.kept for step in back.values())
