"""The steps of a plan by their places, what waits for what, and an index of how far they have come. Pure.

Sets of steps and of cells are whole numbers: bit n stands for the n-th step of the plan. Such a set is immutable,
ordered as the plan is, and copied in a tenth of a microsecond.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self

from cellwave.rollout.track import Phase, Track
from cellwave.waves.model import Plan, Step


class Site(NamedTuple):
    """A cell of a wave: the places of its steps, and the cells that are never in flight together with it."""

    cell: str
    places: tuple[int, ...]
    partners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What never changes while a plan is executed. A step's place is its number in the plan; `needs` and `dependents`
    are places by place. Sites are numbered in the order of their first steps; `waves` are (steps, sites) as bits: one
    for all on the way back, whatever waves a plan of an earlier version has."""

    steps: tuple[Step, ...]
    place: dict[str, int]
    needs: tuple[tuple[int, ...], ...]
    dependents: tuple[tuple[int, ...], ...]
    site: tuple[int, ...]
    sites: tuple[Site, ...]
    by_cell: dict[str, tuple[int, ...]]
    waves: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The shape of a plan. On the way back cells wait for each other only as partners."""
        steps = plan.steps
        place = {step.deployment: at for at, step in enumerate(steps)}
        back = plan.direction == "back"
        dependents: list[list[int]] = [[] for _ in steps]
        needs = []
        for at, step in enumerate(steps):
            before = (place[name] for name in step.after if name in place)
            needs.append(tuple(need for need in before if not back or steps[need].cell == step.cell))
            for need in needs[-1]:
                dependents[need].append(at)
        partners = _partners(plan)
        site, cells = _sites(plan)
        by_cell: dict[str, list[int]] = defaultdict(list)
        for number, (cell, _) in enumerate(cells):
            by_cell[cell].append(number)
        sites = (Site(cell, tuple(places), tuple(sorted(partners.get(cell, ())))) for cell, places in cells)
        return cls(
            steps=steps,
            place=place,
            needs=tuple(needs),
            dependents=tuple(map(tuple, dependents)),
            site=tuple(site),
            sites=tuple(sites),
            by_cell={cell: tuple(numbers) for cell, numbers in by_cell.items()},
            waves=_spans(plan) if not back else (((1 << len(steps)) - 1, (1 << len(cells)) - 1),),
        )


def _partners(plan: Plan) -> dict[str, set[str]]:
    """Which cells are never in flight together with a cell."""
    pairs = list(plan.partners.items())
    if plan.direction == "back":  # one of an earlier version says of pairs only what waits for what
        pairs += [(name.split(".")[0], step.cell) for step in plan.steps for name in step.after]
    partners: dict[str, set[str]] = defaultdict(set)
    for first, second in pairs:
        if first != second:
            partners[first].add(second)
            partners[second].add(first)
    return partners


def _sites(plan: Plan) -> tuple[list[int], list[tuple[str, list[int]]]]:
    """The site of each place, and each site's cell and places."""
    site: list[int] = []
    cells: list[tuple[str, list[int]]] = []
    at = 0
    for wave in plan.waves:
        numbers: dict[str, int] = {}
        for step in wave.steps:
            if step.cell not in numbers:
                numbers[step.cell] = len(cells)
                cells.append((step.cell, []))
            site.append(numbers[step.cell])
            cells[numbers[step.cell]][1].append(at)
            at += 1
    return site, cells


def _spans(plan: Plan) -> tuple[tuple[int, int], ...]:
    """Each wave's steps and sites, as bits."""
    spans, steps, sites = [], 0, 0
    for wave in plan.waves:
        cells = len(wave.cells)
        spans.append((((1 << len(wave.steps)) - 1) << steps, ((1 << cells) - 1) << sites))
        steps, sites = steps + len(wave.steps), sites + cells
    return tuple(spans)


@dataclass(frozen=True, slots=True)
class Index:
    """Sets of steps (by place) and of sites, as bits.

    A step is `active`, `converged` or `failed` as its track says; pending ones are `ready` when all they need has
    converged, and `blocked` when something of it has failed or is blocked. `changed` are steps that have changed their
    stack. A site is `whole` when all of it has converged, `busy` when a step of it is active, `startable` when one is
    ready, and `flying` when it is partly changed: begun, and neither whole nor stopped by a failure.
    """

    active: int = 0
    converged: int = 0
    failed: int = 0
    ready: int = 0
    blocked: int = 0
    changed: int = 0
    whole: int = 0
    busy: int = 0
    startable: int = 0
    flying: int = 0

    @classmethod
    def of(cls, shape: Shape, tracks: Mapping[str, Track]) -> Self:
        """The index made anew. A plan's steps are in an order that respects what they need."""
        sets: dict[str, set[int]] = defaultdict(set)
        for at, step in enumerate(shape.steps):
            track = tracks.get(step.deployment)
            if name := _set_of(track.phase if track else "pending"):
                sets[name].add(at)
            elif any(need in sets["failed"] or need in sets["blocked"] for need in shape.needs[at]):
                sets["blocked"].add(at)
            elif all(need in sets["converged"] for need in shape.needs[at]):
                sets["ready"].add(at)
            if track and track.changed:
                sets["changed"].add(at)
        made = cls(**{name: bits(places) for name, places in sets.items()})
        seen = [made.see(shape, tracks, number) for number in range(len(shape.sites))]
        return replace(
            made,
            **{name: bits(n for n, site in enumerate(seen) if getattr(site, name)) for name in Seen._fields},
        )

    def see(self, shape: Shape, tracks: Mapping[str, Track], site: int) -> Seen:
        """What a site is, of the sets of its steps."""
        places = shape.sites[site].places
        known = [tracks.get(shape.steps[at].deployment) for at in places]
        busy = any(track is not None and track.active for track in known)
        begun = any(track is not None and track.attempt for track in known)
        failed = any(track is not None and track.phase == "failed" for track in known)
        rest = any(
            (track is None or track.phase == "pending") and not self.blocked >> at & 1
            for at, track in zip(places, known, strict=True)
        )
        return Seen(
            whole=all(self.converged >> at & 1 for at in places),
            busy=busy,
            startable=any(self.ready >> at & 1 for at in places),
            flying=busy or (begun and rest and not failed),
        )

    def changed_by(self, shape: Shape, tracks: Mapping[str, Track], at: int) -> Self:
        """The index after the track of the step at a place has changed."""
        track = tracks[shape.steps[at].deployment]
        one = 1 << at
        sets = {name: getattr(self, name) & ~one for name in ("active", "converged", "failed", "changed")}
        if name := _set_of(track.phase):
            sets[name] |= one
        if track.changed:
            sets["changed"] |= one
        made = replace(self, **sets)
        sites, look = set(), [at]
        while look:
            place = look.pop()
            before = (made.ready >> place & 1, made.blocked >> place & 1)
            ready, blocked = made.stand(shape, place)
            sites.add(shape.site[place])
            if place == at or (ready, blocked) != before:
                made = replace(
                    made, ready=put(made.ready, place, ready), blocked=put(made.blocked, place, blocked)
                )
                look += shape.dependents[place]
        for site in sites:
            seen = made.see(shape, tracks, site)
            made = replace(
                made, **{name: put(getattr(made, name), site, on) for name, on in seen._asdict().items()}
            )
        return made

    def stand(self, shape: Shape, place: int) -> tuple[bool, bool]:
        """Whether a step is ready, and whether it is blocked."""
        if (self.active | self.converged | self.failed) >> place & 1:
            return False, False
        stopped = self.failed | self.blocked
        blocked = any(stopped >> need & 1 for need in shape.needs[place])
        return all(self.converged >> need & 1 for need in shape.needs[place]), blocked


class Seen(NamedTuple):
    """What a site is; the names are those of the index."""

    whole: bool
    busy: bool
    startable: bool
    flying: bool


def _set_of(phase: Phase) -> Literal["", "active", "converged", "failed"]:
    """The set that a phase belongs to; none for a pending step, which needs a look at what it needs."""
    match phase:
        case "pending":
            return ""
        case "running" | "proving":
            return "active"
        case other:
            return other


def bits(places: Iterable[int]) -> int:
    """A set of places as a whole number."""
    chosen = set(places)
    return int("".join("1" if at in chosen else "0" for at in range(max(chosen), -1, -1)), 2) if chosen else 0


def places_of(chosen: int) -> Iterator[int]:
    """The places of a set, in order."""
    text = bin(chosen)[:1:-1]  # the lowest bit first
    at = text.find("1")
    while at >= 0:
        yield at
        at = text.find("1", at + 1)


def put(chosen: int, place: int, on: bool) -> int:
    """A set with a place in it, or not."""
    return chosen | 1 << place if on else chosen & ~(1 << place)
