"""Of small plans every state is visited, whatever happens in whatever order: a rollout can leave each of them."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx
import pytest

from cellwave.rollout import decide
from cellwave.rollout.model import State
from cellwave.waves.model import Bake
from tests.rollout.every_state import BAD, GOOD, Graph, Key, walk
from tests.rollout.plans import plan

ONE: dict[str, tuple[str, ...]] = {"s": ()}
CHAIN: dict[str, tuple[str, ...]] = {"s": (), "t": ("s",)}
SHORT = Bake(seconds=1, samples=1, limit=2)
PLANS = {
    "a chain in one cell": plan([["a"]], services=CHAIN, bake=SHORT, approve=True),
    "a first chain": plan([["a"]], services={"storage": (), "t": ("storage",)}, previous=None),
    "two cells, one after the other": plan([["a", "b"]], services=ONE, tolerance=1, concurrency=1),
    "a pair in one wave": plan([["a", "b"]], services=CHAIN, tolerance=1, pairs=[("a", "b")]),
    "a pair in two waves": plan(
        [["a"], ["b"]], services=ONE, pairs=[("a", "b")], rollback_concurrency=1, bake=SHORT
    ),
    "two waves": plan([["a"], ["b"]], services=ONE, tolerance=1, approve=[2], bake=SHORT),
}


@pytest.fixture(scope="module", params=PLANS.values(), ids=tuple(PLANS))
def graph(request: pytest.FixtureRequest) -> Graph:
    """All that a plan can come to; what blocks a wave is put up with for three looks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide, "CHECKED_FOR_SECONDS", 4.0)
        return walk(request.param)


def held_up(state: State) -> bool:
    """Whether a person is asked, or has paused it."""
    return bool(state.head.waiting or state.head.paused)


def by_itself(graph: Graph) -> Iterator[tuple[Key, Key]]:
    """What leads on while no person holds it up, and none says anything."""
    for key, edges in graph.edges.items():
        if not held_up(graph.nodes[key].state):
            yield from ((key, then) for how, then in edges if how in {GOOD, BAD})


def test_from_every_state_there_is_an_end(graph: Graph) -> None:
    """What is at work ends well, and a person answers what is asked or lifts the pause: no more is needed."""
    leads = nx.DiGraph(
        (then, key)  # backwards
        for key, edges in graph.edges.items()
        for how, then in edges
        if how == GOOD or (how in {"approve", "resume"} and held_up(graph.nodes[key].state))
    )
    leads.add_edges_from(("an end", key) for key, node in graph.nodes.items() if node.state.outcome)
    assert nx.descendants(leads, "an end") == graph.nodes.keys()


def test_nothing_goes_round_in_circles_by_itself(graph: Graph) -> None:
    """However badly it all ends: after so many steps a rollout is over, or a person is asked. So a way back ends."""
    assert nx.is_directed_acyclic_graph(nx.DiGraph(by_itself(graph)))


def test_a_rollout_rests_only_where_a_person_is_to_speak(graph: Graph) -> None:
    """Else something is at work outside, or a time is due."""
    goes_on = {key for key, _ in by_itself(graph)}
    for key, node in graph.nodes.items():
        assert key in goes_on or held_up(node.state) or node.state.outcome


def test_in_no_state_are_both_of_a_pair_at_work_nor_a_cell_on_both_ways(graph: Graph) -> None:
    """On either way, and across them."""
    for node in graph.nodes.values():
        state = node.state
        forward = {step.cell for step in state.forward.running}
        back = {step.cell for step in state.back.running} if state.back else set()
        assert not forward & back
        for pair in state.forward.plan.partners.items():
            assert not forward | back >= set(pair)
