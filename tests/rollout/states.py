"""States of a rollout written straight into the database, for tests of what reads them."""

from __future__ import annotations

from dataclasses import replace

from cellwave.health.model import GateResult
from cellwave.rollout import rows
from cellwave.rollout.model import Leg, Note, State, Track, Turn, first_state
from cellwave.rollout.records import Records
from cellwave.waves.model import Plan


def with_head(state: State, **fields: object) -> State:
    """The state with fields of its head changed."""
    return replace(state, head=state.head.model_copy(update=fields))


def converged(name: str, made: Plan) -> State:
    """A rollout that has brought all of its plan, and is done."""
    track = Track(phase="converged", attempt=1, changed=True)
    leg = Leg.of(made, tracks={step.deployment: track for step in made.steps})
    return with_head(replace(first_state(name, made), forward=leg), outcome="done", turn=1)


def put(
    records: Records,
    state: State,
    *,
    notes: tuple[Note, ...] = (),
    gates: tuple[GateResult, ...] | None = None,
    at: float = 2.0,
) -> None:
    """Write a state over what is recorded of its rollout."""
    legs = ((False, state.forward), (True, state.back))
    changed = frozenset((back, name) for back, leg in legs if leg for name in leg.tracks)
    with records.transaction() as db:
        row = rows.lock(db, state.rollout)
        assert row is not None
        turn = Turn(state, notes=notes, readings=gates, changed=changed)
        rows.keep(db, row, [rows.Taken(turn, at)])


def record(records: Records, state: State, target: str, *, at: float = 1.0, actor: str = "ann") -> None:
    """Record a rollout that has come to a state."""
    records.create_rollout(first_state(state.rollout, state.forward.plan), actor, target, at)
    put(records, state)
