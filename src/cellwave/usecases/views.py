"""A rollout as those see it who show it: all that is read of a recorded one's state for that, in one place. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from cellwave.errors import Fault
from cellwave.faults import ADVICE
from cellwave.frozen import Frozen
from cellwave.health.model import GateResult
from cellwave.rollout.ahead import coming, is_ahead
from cellwave.rollout.forward import findings
from cellwave.rollout.model import Outcome, State, Waiting
from cellwave.rollout.rows import RolloutRow


class RolloutSummary(Frozen):
    """A rollout in a few fields. Times are epoch seconds, 0 when not reached; `target` is the state backend.

    `outcome` is "" until it has ended, and `status` one word until then too. `waiting` is what a person is asked,
    `paused` who paused it ("": nobody); `reason` is why it is where it is, and `trouble` why it can't go on ("": it
    can). `touched` are the deployments that were begun, and `wave` the name of the one being worked on.
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
    cells: tuple[str, ...]
    touched: tuple[str, ...]
    wave: str


class CellView(Frozen):
    """A cell of a wave: its services in order, each with its phase: pending, running, converged, kept, failed,
    back_running or back."""

    name: str
    services: tuple[tuple[str, str], ...]


class WaveView(Frozen):
    """A wave. `stage`: "" (not reached, or never), entering, checking, deploying, baking, passed, going back,
    restoring, done."""

    number: int
    name: str
    stage: str
    cells: tuple[CellView, ...]


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
    """A rollout as a picture shows it. `running` are the deployments whose engine (or proof) is at work now.

    `release` is its digest, `attempts` how many times a deployment was tried, both ways. `first_change_at` is when the
    first one got to where it is, `condemned_at` when it began to go back (epoch seconds, 0: not so far). `ahead` is
    what is known of the next wave while there is time to look at it."""

    release: str
    waves: tuple[WaveView, ...]
    running: tuple[str, ...]
    gates: tuple[GateResult, ...]
    failures: tuple[FailureView, ...]
    attempts: int
    first_change_at: float
    condemned_at: float
    ahead: AheadView | None


def summary_of(row: RolloutRow, state: State) -> RolloutSummary:
    """A recorded rollout in a few fields."""
    return RolloutSummary.model_validate(_summary(row, state))


def view_of(row: RolloutRow, state: State, gates: tuple[GateResult, ...]) -> RolloutView:
    """A recorded rollout, and its gates as last read, with all that a picture shows."""
    forward = state.forward
    tracks = [forward.track(step.deployment) for step in forward.plan.steps if not forward.keeps(step)]
    back = state.back.tracks.values() if state.back else ()
    return RolloutView.model_validate(
        {
            **_summary(row, state),
            "release": state.forward.plan.release,
            "waves": tuple(_wave(state, number) for number in range(len(state.forward.plan.waves))),
            "running": tuple(step.deployment for step in state.leg.running),
            "gates": gates,
            "failures": tuple(_failures(state)),
            "attempts": sum(track.attempt for track in (*tracks, *back)),
            "first_change_at": min((t.at for t in tracks if t.attempt), default=state.head.condemned_at),
            "condemned_at": state.head.condemned_at,
            "ahead": _ahead(state),
        }
    )


def _ahead(state: State) -> AheadView | None:
    leg, number = state.forward, coming(state)
    if number is None:
        return None
    wave = leg.plan.waves[number]
    places = [leg.shape.place[step.deployment] for step in wave.steps]
    known = [seen for step in wave.steps if (seen := leg.track(step.deployment).foreseen)]
    return AheadView(
        wave=wave.name,
        previewable=sum(is_ahead(leg, place) for place in places),
        previewed=len(known),
        changing=sum(bool(seen.changes.keys() - {"same"}) for seen in known),
        lost=sum(len(seen.lost) for seen in known),
        findings=dict(findings(leg, number)),
    )


def _summary(row: RolloutRow, state: State) -> dict[str, object]:
    plan, head = state.forward.plan, state.head
    return {
        "id": row.id,
        "version": plan.version,
        "target": row.target,
        "actor": row.actor,
        "created": row.created,
        "started_at": head.started_at,
        "ended_at": head.ended_at,
        "status": state.status,
        "outcome": state.outcome,
        "reason": head.reason or head.condemned or (head.waiting.what if head.waiting else ""),
        "waiting": head.waiting,
        "trouble": row.trouble,
        "paused": head.paused,
        "cells": plan.cells,
        "touched": state.touched,
        "wave": state.forward.current.name,
    }


def _failures(state: State) -> Iterator[FailureView]:
    legs = [(False, state.forward), *([(True, state.back)] if state.back else [])]
    for back, leg in legs:
        for step in leg.plan.steps:
            if (track := leg.track(step.deployment)).fault:
                yield FailureView(
                    deployment=step.deployment,
                    back=back,
                    fault=track.fault,
                    reason=track.reason,
                    advice=ADVICE[track.fault],
                )


def _wave(state: State, number: int) -> WaveView:
    wave = state.forward.plan.waves[number]
    phases: dict[str, list[tuple[str, str]]] = {cell: [] for cell in wave.cells}
    for step in wave.steps:
        phases[step.cell].append((step.service, _phase(state, step.deployment)))
    cells = tuple(CellView(name=cell, services=tuple(services)) for cell, services in phases.items())
    return WaveView(number=wave.number, name=wave.name, stage=_stage(state, number), cells=cells)


def _phase(state: State, deployment: str) -> str:
    back = state.back.track(deployment).phase if state.back else ""
    if back in ("running", "proving", "converged"):
        return "back" if back == "converged" else "back_running"
    forward = state.forward.track(deployment).phase
    if forward == "converged" and state.forward.keeps(state.forward.step(deployment)):
        return "kept"
    return "running" if forward == "proving" else forward


def _stage(state: State, number: int) -> str:
    at = state.forward.position.wave
    if number > at or state.outcome in ("rolled_back", "failed"):
        return ""
    if number < at or state.outcome == "done":
        return "done"
    if state.back is not None and state.back.stage == "restoring":
        return "restoring"
    return "going back" if state.head.condemned else state.forward.stage
