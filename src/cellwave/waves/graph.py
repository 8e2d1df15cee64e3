"""Order among things that wait for each other: networkx, behind the few questions that a plan asks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, Self

import networkx as nx

from cellwave.errors import BadInput


class Graph:
    """A directed graph of names; an edge `a -> b` says that `b` comes after `a`. Immutable from outside."""

    def __init__(self, nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> None:
        self._graph: nx.DiGraph[str] = nx.DiGraph()
        self._graph.add_nodes_from(nodes)
        self._graph.add_edges_from(edges)

    @property
    def edges(self) -> set[tuple[str, str]]:
        """The pairs `(a, b)`, `b` after `a`."""
        return set(self._graph.edges)

    def order(self, key: Callable[[str], Any]) -> list[str]:
        """All nodes, none before what it comes after; of those that could be next, the one of the smallest
        `key`.

        BadInput names a cycle edge by edge.
        """
        self.refuse_cycle()
        return list(nx.lexicographical_topological_sort(self._graph, key=key))

    def refuse_cycle(self) -> None:
        """BadInput that names a cycle edge by edge, when there is one."""
        try:
            ring = [a for a, _ in nx.find_cycle(self._graph)]
        except nx.NetworkXNoCycle:
            return
        start = ring.index(min(ring))
        turned = [*ring[start:], *ring[: start + 1]]
        edges = ", ".join(f"{b} after {a}" for a, b in pairwise(turned))
        raise BadInput(" -> ".join(turned), f"a cycle: {edges}", "an order that begins somewhere")

    def before(self, node: str) -> tuple[str, ...]:
        """What a node comes directly after, sorted."""
        return tuple(sorted(self._graph.predecessors(node)))

    def firsts(self, nodes: Iterable[str]) -> list[str]:
        """Of these nodes, the ones that come after none of the others."""
        within = self._graph.subgraph(nodes)
        return sorted(node for node in within if not within.in_degree(node))

    def lasts(self, nodes: Iterable[str]) -> list[str]:
        """Of these nodes, the ones that none of the others comes after."""
        within = self._graph.subgraph(nodes)
        return sorted(node for node in within if not within.out_degree(node))

    def reversed(self) -> Self:
        """The same graph the other way round."""
        return type(self)(self._graph.nodes, ((b, a) for a, b in self._graph.edges))

    def only(self, nodes: Iterable[str]) -> Self:
        """The graph of these nodes alone: order that went through a node left out is kept, with as few edges
        as possible.
        """
        whole = nx.transitive_closure_dag(self._graph).subgraph(nodes)
        fewest = nx.transitive_reduction(whole)
        return type(self)(fewest.nodes, fewest.edges)
