"""A rollout as those see it who show it: all that is read of a recorded one for that, in one place. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import islice, repeat
from typing import NamedTuple

from cellwave.errors import Fault
from cellwave.faults import ADVICE
from cellwave.frozen import Frozen
from cellwave.health.model import GateResult
from cellwave.rollout.glance import Course, Glance
from cellwave.rollout.model import Outcome, Waiting
from cellwave.rollout.outline import WaveOutline, cell_of
from cellwave.rollout.rows import RolloutRow
from cellwave.rollout.track import ACTIVE

MOST = 30  # cells, failures, engines or gates that a person still reads one by one
BACK_PHASES = {"running": "back_running", "proving": "back_running", "converged": "back"}
BUSY = ("running", "failed", "back_running")


class RolloutSummary(Frozen):
    """A rollout in a few fields. Times are epoch seconds, 0 when not reached; `target` is the state backend.

    `outcome` is "" until it has ended, and `status` one word until then too. `waiting` is what a person is asked,
    `paused` who paused it ("": nobody); `reason` is why it is where it is, and `trouble` why it can't go on ("": it
    can).
    """

    id: str
    version: str
    target: str
    actor: str
    created: float
    started_at: float
    ended_at: float
    status: str
    outcome: Outcome
    reason: str
    waiting: Waiting | None
    trouble: str
    paused: str


class CellView(NamedTuple):
    """A cell of a wave: its services in order, each with its phase: pending, running, converged, kept, failed,
    back_running or back."""

    name: str
    services: tuple[tuple[str, str], ...]


class WaveView(Frozen):
    """A wave. `stage`: "" (not reached, or never), entering, checking, deploying, baking, passed, going back,
    restoring, done. `cells` are those that a person still reads one by one: of a large wave what is at work or has
    failed. So many `more` are told by how many of their services are in which phase."""

    number: int
    name: str
    stage: str
    cells: tuple[CellView, ...]
    more: int = 0
    phases: dict[str, int] = {}


class FailureView(Frozen):
    """A deployment whose last attempt failed, or is tried again: on which way, whose fault that is, why, and what would
    mend it."""

    deployment: str
    back: bool
    fault: Fault
    reason: str
    advice: str


class AheadView(Frozen):
    """What previews showed of the wave that comes next: of how many deployments one can tell, of how many one has, how
    many of those change, how many resources would be replaced or deleted, and what speaks against it, by deployment."""

    wave: str
    previewable: int
    previewed: int
    changing: int
    lost: int
    findings: dict[str, str]


class RolloutView(RolloutSummary):
    """A rollout as a picture shows it. `running` are the deployments whose engine (or proof) is at work now. `gates`
    are as last read, but for so many that `passed` and are not told one by one. `ahead` is what is known of the next
    wave while there is time to look at it."""

    waves: tuple[WaveView, ...]
    running: tuple[str, ...]
    gates: tuple[GateResult, ...]
    passed: int
    failures: tuple[FailureView, ...]
    ahead: AheadView | None


class RolloutStory(RolloutSummary):
    """What a rollout was to do and did. `touched` are the deployments that were begun, and `wave` is the name of the
    wave being worked on, or that was.

    `release` is its digest, `attempts` how many times a deployment was tried, both ways. `first_change_at` is when the
    first one got to where it is, `condemned_at` when it began to go back (epoch seconds, 0: not so far)."""

    cells: tuple[str, ...]
    touched: tuple[str, ...]
    wave: str
    release: str
    attempts: int
    first_change_at: float
    condemned_at: float


def summary_of(row: RolloutRow) -> RolloutSummary:
    """A recorded rollout in a few fields."""
    return RolloutSummary.model_validate(_summary(row))


def view_of(seen: Glance, gates: tuple[GateResult, ...], passed: int = 0) -> RolloutView:
    """A recorded rollout, and its gates as last read, with all that a picture shows."""
    phases = _phases(seen)
    busy = {name for name, phase in phases.items() if phase in BUSY}
    waves = enumerate(seen.forward.outline.waves)
    return RolloutView.model_validate(
        {
            **_summary(seen.row),
            "waves": tuple(_wave(wave, _stage(seen, number), phases, busy) for number, wave in waves),
            "running": (seen.back or seen.forward).running,
            "gates": gates,
            "passed": passed,
            "failures": tuple(_failures(seen)),
            "ahead": _ahead(seen),
        }
    )


def story_of(seen: Course) -> RolloutStory:
    """A recorded rollout with all that it was to do and did."""
    outline, head = seen.outline, seen.row.head
    kept = {name for wave in outline.waves for name in wave.kept}
    ran = {name: m for name, m in seen.marks.items() if not (m.attempt == 1 and name in kept)}
    touched = {name for name, mark in ran.items() if mark.changed or mark.phase in ACTIVE}
    return RolloutStory.model_validate(
        {
            **_summary(seen.row),
            "cells": outline.cells,
            "touched": tuple(filter(touched.__contains__, outline.deployments)),
            "wave": outline.waves[seen.wave].name,
            "release": outline.release,
            "attempts": sum(mark.attempt for mark in ran.values()) + seen.back_attempts,
            "first_change_at": min((m.at for m in ran.values() if m.attempt), default=head.condemned_at),
            "condemned_at": head.condemned_at,
        }
    )


def _ahead(seen: Glance) -> AheadView | None:
    if seen.coming is None:
        return None
    wave = seen.forward.outline.waves[seen.coming]
    known = {name: seen.foreseen[name] for name in wave.deployments if name in seen.foreseen}
    return AheadView(
        wave=wave.name,
        previewable=wave.previewable,
        previewed=len(known),
        changing=sum(bool(shown.changes.keys() - {"same"}) for shown in known.values()),
        lost=sum(len(shown.lost) for shown in known.values()),
        findings={name: shown.problem for name, shown in known.items() if shown.problem},
    )


def _summary(row: RolloutRow) -> dict[str, object]:
    head = row.head
    return {
        "id": row.id,
        "version": row.version,
        "target": row.target,
        "actor": row.actor,
        "created": row.created,
        "started_at": head.started_at,
        "ended_at": head.ended_at,
        "status": head.status,
        "outcome": head.outcome,
        "reason": head.reason or head.condemned or (head.waiting.what if head.waiting else ""),
        "waiting": head.waiting,
        "trouble": row.trouble,
        "paused": head.paused,
    }


def _failures(seen: Glance) -> Iterator[FailureView]:
    legs = [(False, seen.forward), *([(True, seen.back)] if seen.back else [])]
    for back, leg in legs:
        for name in filter(leg.failed.__contains__, leg.outline.deployments) if leg.failed else ():
            fault, reason = leg.failed[name]
            advice = ADVICE[fault]
            yield FailureView(deployment=name, back=back, fault=fault, reason=reason, advice=advice)


def _phases(seen: Glance) -> dict[str, str]:
    """What is shown of each deployment that anything has happened to."""
    leg = seen.forward
    shown: dict[str, str] = {**leg.phases}
    shown |= {name: "running" for name, phase in leg.phases.items() if phase == "proving"}
    kept = (name for wave in leg.outline.waves for name in wave.kept)
    shown |= {name: "kept" for name in kept if shown.get(name) == "converged" and name not in leg.again}
    back = seen.back.phases if seen.back else {}
    shown |= {name: BACK_PHASES[phase] for name, phase in back.items() if phase in BACK_PHASES}
    return shown


def _wave(wave: WaveOutline, stage: str, phases: Mapping[str, str], busy: Collection[str]) -> WaveView:
    # Of a large fleet nothing is done name by name here but what the interpreter does in one go.
    names = wave.deployments if wave.cells <= MOST else filter(busy.__contains__, wave.deployments)
    cells: dict[str, list[tuple[str, str]]] = {
        cell: [] for cell in islice(dict.fromkeys(map(cell_of, names)), MOST)
    }
    for name in wave.deployments if cells else ():
        if (cell := cell_of(name)) in cells:
            cells[cell].append((name.removeprefix(f"{cell}."), phases.get(name, "pending")))
    counted = Counter(map(phases.get, wave.deployments, repeat("pending")))
    counted -= Counter(phase for services in cells.values() for _, phase in services)
    return WaveView(
        number=wave.number,
        name=wave.name,
        stage=stage,
        cells=tuple(CellView(cell, tuple(services)) for cell, services in cells.items()),
        more=wave.cells - len(cells),
        phases=dict(counted),
    )


def _stage(seen: Glance, number: int) -> str:
    head, position = seen.row.head, seen.forward.position
    if number > position.wave or head.outcome in ("rolled_back", "failed"):
        return ""
    if number < position.wave or head.outcome == "done":
        return "done"
    if seen.back is not None and seen.back.position.stage == "restoring":
        return "restoring"
    return "going back" if head.condemned else position.stage
