"""A plan being executed, forward or back: how far each step has come, and an index of it. Pure.

A decision must cost what it changes and not what the fleet is made of. So the tracks are a persistent map (a changed
one shares all but a few nodes with the one before), and the index (shape.py) is moved along with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self

from rpds import HashTrieMap

from cellwave.frozen import Frozen
from cellwave.health.model import GateResult
from cellwave.rollout.shape import Index, Shape, places_of
from cellwave.rollout.track import FRESH, Phase, Track, is_kept
from cellwave.waves.model import Plan, PlannedWave, Step

Stage = Literal["entering", "checking", "deploying", "baking", "passed", "restoring"]


class Position(Frozen):
    """Where a leg stands. `wave` is an index into the plan's waves. Times are epoch seconds, 0 when not reached.

    `looks` counts the looks that were asked for, and `looking` is the one whose answer is wanted (0: none);
    `looked_at` is when the last one was answered, `next_look` when the next is due. `watched` is for how many seconds
    the stage has been looked at: time that nobody saw pass does not count (a bake needs it, and so does the patience
    with what blocks a wave).

    `previews` counts the previews that were asked for, `previewing` is the deployment whose is out ("": none), and
    `ahead` the place of the next step to preview.
    """

    wave: int = 0
    stage: Stage = "entering"
    checking_since: float = 0.0
    baking_since: float = 0.0
    watched: float = 0.0
    looked_at: float = 0.0
    next_look: float = 0.0
    looking: int = 0
    looks: int = 0
    previews: int = 0
    previewing: str = ""
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Leg:
    """A plan being executed. Make one with `of`, and another of it with `move` and `put`: they keep the index true."""

    plan: Plan
    position: Position
    tracks: HashTrieMap[str, Track]
    shape: Shape
    index: Index

    @classmethod
    def of(
        cls, plan: Plan, position: Position | None = None, tracks: Mapping[str, Track] | None = None
    ) -> Self:
        """A leg of what is kept of it. Tracks of steps to which nothing has happened may be left out."""
        shape = Shape.of(plan)
        known = HashTrieMap({name: track for name, track in (tracks or {}).items() if name in shape.place})
        return cls(plan, position or Position(), known, shape, Index.of(shape, known))

    def move(self, **fields: object) -> Self:
        """The leg with fields of its position changed."""
        return replace(self, position=self.position.model_copy(update=fields))

    def put(self, deployment: str, track: Track) -> Self:
        """The leg with one deployment's track changed. KeyError: a deployment that the plan does not have."""
        at = self.shape.place[deployment]
        tracks = self.tracks.insert(deployment, track)
        return replace(self, tracks=tracks, index=self.index.changed_by(self.shape, tracks, at))

    @property
    def stage(self) -> Stage:
        """What is being done about the current wave."""
        return self.position.stage

    @property
    def current(self) -> PlannedWave:
        """The wave being worked on (the way back takes all its waves at once)."""
        return self.plan.waves[self.position.wave]

    def track(self, deployment: str) -> Track:
        """A deployment's track; a fresh one when nothing has happened to it."""
        return self.tracks.get(deployment, FRESH)

    def phase_of(self, step: Step) -> Phase:
        """A step's phase."""
        return self.track(step.deployment).phase

    def step(self, deployment: str) -> Step:
        """A deployment's step. KeyError: the plan does not have it."""
        return self.shape.steps[self.shape.place[deployment]]

    def steps(self, chosen: int) -> tuple[Step, ...]:
        """The steps of a set, in the plan's order."""
        return tuple(self.shape.steps[at] for at in places_of(chosen))

    def keeps(self, step: Step) -> bool:
        """Whether a step is, so far, only looked at: no engine has run for it."""
        return is_kept(step, self.track(step.deployment).attempt)

    def is_still(self, place: int) -> bool:
        """Whether the step at a place is kept and no engine has run for it, be it looked at already or not."""
        step = self.shape.steps[place]
        return bool(step.kept) and self.track(step.deployment).attempt <= 1

    @property
    def running(self) -> tuple[Step, ...]:
        """The steps whose engine (or proof) is at work."""
        return self.steps(self.index.active)

    @property
    def engines(self) -> tuple[Step, ...]:
        """The steps whose engine is at work, or is to be."""
        return tuple(step for step in self.running if self.phase_of(step) == "running")

    @property
    def failed(self) -> tuple[Step, ...]:
        """The steps that failed for good."""
        return self.steps(self.index.failed)

    def split(self, gates: Iterable[GateResult]) -> tuple[list[GateResult], list[GateResult]]:
        """Results that are the current wave's (or nobody's), and those of earlier waves."""
        first = next(places_of(self.shape.waves[self.position.wave][0]))
        here: list[GateResult] = []
        earlier: list[GateResult] = []
        for gate in gates:
            place = self.shape.place.get(f"{gate.cell}.{gate.service}", first)
            (here if place >= first else earlier).append(gate)
        return here, earlier

    def busy_in(self, cell: str) -> bool:
        """Whether a step of a cell is active."""
        return any(self.index.busy >> site & 1 for site in self.shape.by_cell.get(cell, ()))

    def flying_in(self, cell: str) -> bool:
        """Whether a cell is partly changed."""
        return any(self.index.flying >> site & 1 for site in self.shape.by_cell.get(cell, ()))
