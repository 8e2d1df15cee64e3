"""Order among things that wait for each other, behind the few questions that a plan asks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from graphlib import CycleError, TopologicalSorter
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import Any

from cellwave.errors import BadInput


class Graph:
    """A directed graph of names; an edge `a -> b` says that `b` comes after `a`. Immutable from outside."""

    def __init__(self, nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> None:
        self._before: dict[str, set[str]] = {node: set() for node in nodes}
        for a, b in edges:
            self._before.setdefault(a, set())
            self._before.setdefault(b, set()).add(a)

    @property
    def edges(self) -> set[tuple[str, str]]:
        """The pairs `(a, b)`, `b` after `a`."""
        return {(a, b) for b, before in self._before.items() for a in before}

    def order(self, key: Callable[[str], Any]) -> list[str]:
        """All nodes, none before what it comes after; of those that could be next, the one of the smallest
        `key`.

        BadInput names a cycle edge by edge.
        """
        sorter = self._sorter()
        found: list[str] = []
        ready = [(key(node), node) for node in sorter.get_ready()]
        heapify(ready)
        while ready:
            found.append(heappop(ready)[1])
            sorter.done(found[-1])
            for node in sorter.get_ready():
                heappush(ready, (key(node), node))
        return found

    def refuse_cycle(self) -> None:
        """BadInput that names a cycle edge by edge, when there is one."""
        self._sorter()

    def before(self, node: str) -> tuple[str, ...]:
        """What a node comes directly after, sorted."""
        return tuple(sorted(self._before[node]))

    def firsts(self, nodes: Collection[str]) -> list[str]:
        """Of these nodes, the ones that come after none of the others."""
        return sorted(node for node in nodes if self._before[node].isdisjoint(nodes))

    def lasts(self, nodes: Collection[str]) -> list[str]:
        """Of these nodes, the ones that none of the others comes after."""
        return sorted({*nodes}.difference(*(self._before[node] for node in nodes)))

    def reversed(self) -> Graph:
        """The same graph the other way round."""
        return Graph(self._before, ((b, a) for a, b in self.edges))

    def only(self, nodes: Collection[str]) -> Graph:
        """The graph of these nodes alone: order that went through a node left out is kept, with as few edges
        as possible.
        """
        import networkx as nx  # a way back asks this, and a plan need not wait for it

        graph: nx.DiGraph[str] = nx.DiGraph(self.edges)
        graph.add_nodes_from(self._before)
        fewest = nx.transitive_reduction(nx.transitive_closure_dag(graph).subgraph(nodes))
        return Graph(nodes, fewest.edges)

    def _sorter(self) -> TopologicalSorter[str]:
        sorter = TopologicalSorter(self._before)
        try:
            sorter.prepare()
        except CycleError as error:
            ring: list[str] = error.args[1][:-1]
            start = ring.index(min(ring))
            turned = [*ring[start:], *ring[: start + 1]]
            edges = ", ".join(f"{b} after {a}" for a, b in pairwise(turned))
            raise BadInput(
                " -> ".join(turned), f"a cycle: {edges}", "an order that begins somewhere"
            ) from None
        return sorter
