"""Order among things that wait for each other."""

from __future__ import annotations

import pytest

from cellwave.errors import BadInput
from cellwave.waves.graph import Graph

DIAMOND = Graph("dcba", [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])


def test_order_respects_edges_and_then_the_key() -> None:
    """Nothing comes before what it waits for; the key decides between the rest."""
    assert DIAMOND.order(key=str) == ["a", "b", "c", "d"]
    assert DIAMOND.order(key=lambda name: -ord(name)) == ["a", "c", "b", "d"]


def test_the_ends_of_a_part_are_found_within_it() -> None:
    """First and last are those of the nodes asked about, not of the whole."""
    assert DIAMOND.firsts("abcd") == ["a"]
    assert DIAMOND.lasts("abcd") == ["d"]
    assert DIAMOND.firsts("bcd") == ["b", "c"]
    assert DIAMOND.before("d") == ("b", "c")


def test_reversed_turns_every_edge() -> None:
    """The reverse of the reverse is the graph."""
    assert DIAMOND.reversed().order(key=str) == ["d", "b", "c", "a"]
    assert DIAMOND.reversed().reversed().edges == DIAMOND.edges


def test_order_through_a_node_left_out_is_kept() -> None:
    """Without b and c, d still comes after a; an edge that another path implies is not kept."""
    assert DIAMOND.only("ad").edges == {("a", "d")}
    assert Graph("abc", [("a", "b"), ("b", "c"), ("a", "c")]).only("abc").edges == {("a", "b"), ("b", "c")}


@pytest.mark.parametrize(
    ("edges", "where", "found"),
    [
        ([("a", "a")], "a -> a", "a after a"),
        ([("c", "b"), ("b", "c"), ("a", "b")], "b -> c -> b", "c after b, b after c"),
    ],
)
def test_a_cycle_is_named_edge_by_edge(edges: list[tuple[str, str]], where: str, found: str) -> None:
    """There is no order; the error tells the cycle from its smallest name."""
    with pytest.raises(BadInput) as caught:
        Graph("abc", edges).order(key=str)
    assert caught.value.where == where
    assert found in caught.value.found
    assert "an order" in caught.value.expected
