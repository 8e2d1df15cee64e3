"""A rollout as those see it who show it: all that is read of a recorded one's state for that, in one place. Pure."""

from __future__ import annotations

from cellwave.frozen import Frozen
from cellwave.health.model import GateResult
from cellwave.rollout.records import RolloutRow
from cellwave.rollout.state import Outcome, State


class RolloutSummary(Frozen):
    """A rollout in a few fields. Times are epoch seconds, 0 when not reached; `target` is the state backend.

    `outcome` is "" until it has ended, and `status` one word until then too. `waiting` says what a person must decide,
    `paused` who paused it, each "" when it does not hold; `reason` is why it is where it is. `touched` are the
    deployments that were begun, and `wave` the name of the one being worked on.
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
    waiting: str
    paused: str
    cells: tuple[str, ...]
    touched: tuple[str, ...]
    wave: str


class CellView(Frozen):
    """A cell of a wave: its services in order, each with its phase: pending, running, converged, failed, back_running
    or back."""

    name: str
    services: tuple[tuple[str, str], ...]


class WaveView(Frozen):
    """A wave. `stage`: "" (not reached, or never), entering, checking, deploying, baking, passed, going back, done."""

    number: int
    name: str
    stage: str
    cells: tuple[CellView, ...]


class RolloutView(RolloutSummary):
    """A rollout as a picture shows it. `running` are the deployments whose engine (or proof) is at work now, and
    `has_failed` is whether one of the leg has failed for good.

    `release` is its digest, `attempts` how many times a deployment was tried, both ways. `first_change_at` is when the
    first one got to where it is, `condemned_at` when it began to go back (epoch seconds, 0: not so far)."""

    release: str
    waves: tuple[WaveView, ...]
    running: tuple[str, ...]
    has_failed: bool
    gates: tuple[GateResult, ...]
    attempts: int
    first_change_at: float
    condemned_at: float


def summary_of(row: RolloutRow) -> RolloutSummary:
    """A recorded rollout in a few fields."""
    return RolloutSummary.model_validate(_summary(row))


def view_of(row: RolloutRow) -> RolloutView:
    """A recorded rollout with all that a picture shows."""
    state = row.state
    tracks = state.forward.tracks.values()
    back = state.back.tracks.values() if state.back else ()
    return RolloutView.model_validate(
        {
            **_summary(row),
            "release": state.forward.plan.release,
            "waves": tuple(_wave(state, number) for number in range(len(state.forward.plan.waves))),
            "running": tuple(step.deployment for step in state.leg.running),
            "has_failed": bool(state.leg.failed),
            "gates": state.gates,
            "attempts": sum(track.attempt for track in (*tracks, *back)),
            "first_change_at": min((track.at for track in tracks), default=state.condemned_at),
            "condemned_at": state.condemned_at,
        }
    )


def _summary(row: RolloutRow) -> dict[str, object]:
    state = row.state
    plan = state.forward.plan
    return {
        "id": row.id,
        "version": plan.version,
        "target": row.target,
        "actor": row.actor,
        "created": row.created,
        "started_at": state.started_at,
        "ended_at": state.ended_at,
        "status": state.status,
        "outcome": state.outcome,
        "reason": state.reason or state.condemned or state.waiting,
        "waiting": state.waiting,
        "paused": state.paused,
        "cells": plan.cells,
        "touched": state.touched,
        "wave": state.forward.current.name,
    }


def _wave(state: State, number: int) -> WaveView:
    wave = state.forward.plan.waves[number]
    phases: dict[str, list[tuple[str, str]]] = {cell: [] for cell in wave.cells}
    for step in wave.steps:
        phases[step.cell].append((step.service, _phase(state, step.deployment)))
    cells = tuple(CellView(name=cell, services=tuple(services)) for cell, services in phases.items())
    return WaveView(number=wave.number, name=wave.name, stage=_stage(state, number), cells=cells)


def _phase(state: State, deployment: str) -> str:
    back = state.back.track(deployment).phase if state.back else ""
    if back in ("running", "converged"):
        return "back_running" if back == "running" else "back"
    return state.forward.track(deployment).phase


def _stage(state: State, number: int) -> str:
    leg = state.forward
    if number > leg.wave or state.outcome in ("rolled_back", "failed"):
        return ""
    if number < leg.wave or state.outcome == "done":
        return "done"
    return "going back" if state.condemned else leg.stage
