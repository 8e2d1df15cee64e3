"""A rollout at a glance: what is shown of one, read in a few queries. Its plan is not, and its state is not made.

Of ten thousand cells with three services that is thirty thousand rows of two words, each handled by what the
interpreter does in one go; the state of them costs twenty times as much.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, cast

import sqlalchemy as sa

from cellwave.errors import Fault
from cellwave.health.model import GateResult
from cellwave.rollout.keys import BACK, FORWARD
from cellwave.rollout.leg import Position
from cellwave.rollout.model import coming
from cellwave.rollout.outline import Outline
from cellwave.rollout.records import Records
from cellwave.rollout.rows import GATES, RolloutRow, require, rollout_of
from cellwave.rollout.tables import OUTLINES, PLANS, READINGS, REMARKABLE, TRACKS
from cellwave.rollout.track import ACTIVE, Foreseen, Phase
from cellwave.waves.model import Plan

VERDICT, PASSES = '"verdict":"', '"verdict":"PASS"'  # in a reading's JSON; within a text a quote is escaped
Outlines = MutableMapping[str, Outline]


class Failed(NamedTuple):
    """Whose fault it is that a deployment's last attempt failed, and why."""

    fault: Fault
    reason: str


class Mark(NamedTuple):
    """How far a deployment has come: see `Track`."""

    phase: Phase
    attempt: int
    at: float
    changed: bool


@dataclass(frozen=True)
class LegGlance:
    """A leg: see `Leg`. Deployments that nothing has happened to have no phase; `again` are those that were tried more
    than once."""

    position: Position
    outline: Outline
    phases: Mapping[str, Phase]
    failed: Mapping[str, Failed]
    again: frozenset[str]

    @property
    def running(self) -> tuple[str, ...]:
        """The deployments whose engine (or proof) is at work, in the plan's order."""
        active = {name for name, phase in self.phases.items() if phase in ACTIVE}
        return tuple(filter(active.__contains__, self.outline.deployments)) if active else ()


@dataclass(frozen=True)
class Glance:
    """A rollout; `foreseen` is what previews have shown of the wave that comes next, by deployment."""

    row: RolloutRow
    forward: LegGlance
    back: LegGlance | None = None
    foreseen: Mapping[str, Foreseen] = field(default_factory=dict)

    @cached_property
    def coming(self) -> int | None:
        """The wave (by index) that is looked at before it begins; None when there is none."""
        return coming(self.row.head, self.forward.position, len(self.forward.outline.waves))


def glance(records: Records, name: str, known: Outlines) -> Glance:
    """A rollout that is recorded, all of one moment; LookupError when there is none of that name. `known` are outlines
    by plan: who looks again and again reads each once."""
    with records.snapshot() as db:
        row = require(db, name)
        forward = _leg(db, name, FORWARD, row.forward, _outline(db, row.plan, known))
        back = _leg(db, name, BACK, row.back, _outline(db, row.back_plan, known)) if row.back else None
        seen = Glance(rollout_of(row), forward, back)
        if seen.coming is None:
            return seen
        return replace(seen, foreseen=_foreseen(db, name, forward.outline, seen.coming))


@dataclass(frozen=True)
class Course:
    """What a rollout was planned to do and did: how far each deployment has come forward, and how many attempts the way
    back took."""

    row: RolloutRow
    outline: Outline
    wave: int
    marks: Mapping[str, Mark]
    back_attempts: int


def course(records: Records, name: str) -> Course:
    """That of a rollout that is recorded; LookupError when there is none of that name."""
    columns = [TRACKS.c[name] for name in ("deployment", *Mark._fields)]
    tries = sa.select(sa.func.sum(TRACKS.c.attempt)).where(TRACKS.c.rollout == name, TRACKS.c.leg == BACK)
    with records.snapshot() as db:
        row = require(db, name)
        query = sa.select(*columns).where(TRACKS.c.rollout == name, TRACKS.c.leg == FORWARD)
        return Course(
            row=rollout_of(row),
            outline=_outline(db, row.plan, {}),
            wave=Position.model_validate_json(row.forward).wave,
            marks={name: Mark(*rest) for name, *rest in db.execute(query)},
            back_attempts=db.execute(tries).scalar() or 0,
        )


def is_by_hand(records: Records, name: str) -> bool:
    """Whether a rollout is of one cell, at a person's word."""
    with records.reader.connect() as db:
        return _outline(db, require(db, name).plan, {}).by_hand


def telling(records: Records, name: str, most: int) -> tuple[tuple[GateResult, ...], int]:
    """A rollout's gates as last read: all but passing ones, at least `most` of those, and how many more passed."""
    query = sa.select(READINGS.c.gates).where(READINGS.c.rollout == name).order_by(READINGS.c.cell)
    found: list[GateResult] = []
    passing = more = 0
    with records.reader.connect() as db:
        for text in db.execute(query).scalars():
            passes = text.count(PASSES)
            if passing >= most and passes == text.count(VERDICT):
                more += passes
                continue
            passing += passes
            found += GATES.validate_json(text)
    return tuple(found), more


def _leg(db: sa.Connection, rollout: str, leg: str, position: str, outline: Outline) -> LegGlance:
    mine, name = (TRACKS.c.rollout == rollout, TRACKS.c.leg == leg), TRACKS.c.deployment
    phases = db.execute(sa.select(name, TRACKS.c.phase).where(*mine)).all()
    columns = (name, TRACKS.c.attempt, TRACKS.c.fault, TRACKS.c.reason)
    some = db.execute(sa.select(*columns).where(*mine, REMARKABLE)).all()
    return LegGlance(
        position=Position.model_validate_json(position),
        outline=outline,
        phases=dict(cast(list[tuple[str, Phase]], phases)),
        failed={row.deployment: Failed(row.fault, row.reason) for row in some if row.fault},
        again=frozenset(row.deployment for row in some if row.attempt > 1),
    )


def _foreseen(db: sa.Connection, rollout: str, outline: Outline, number: int) -> dict[str, Foreseen]:
    """What previews have shown of a wave of which nothing has begun."""
    wave = set(outline.waves[number].deployments)
    mine = (TRACKS.c.rollout == rollout, TRACKS.c.leg == FORWARD, TRACKS.c.phase == "pending")
    query = sa.select(TRACKS.c.deployment, TRACKS.c.foreseen).where(*mine, TRACKS.c.foreseen.is_not(None))
    return {name: Foreseen.model_validate_json(text) for name, text in db.execute(query) if name in wave}


def _outline(db: sa.Connection, plan: str, known: Outlines) -> Outline:
    if plan not in known:
        kept = db.execute(sa.select(OUTLINES.c.outline).where(OUTLINES.c.plan == plan)).scalar()
        if kept is None:  # an earlier version's
            text = db.execute(sa.select(PLANS.c.plan).where(PLANS.c.hash == plan)).scalar_one()
            return known.setdefault(plan, Outline.of(Plan.model_validate_json(text)))
        known[plan] = Outline.model_validate_json(kept)
    return known[plan]
