"""States of a rollout written straight into the database, for tests of what reads them."""

from __future__ import annotations

from dataclasses import replace

from cellwave.health.model import GateResult
from cellwave.rollout import rows
from cellwave.rollout.glance import Course, Failed, Glance, LegGlance, Mark
from cellwave.rollout.model import Leg, Note, State, Track, Turn, coming, first_state
from cellwave.rollout.outline import Outline
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


def row_of(state: State, **others: object) -> rows.RolloutRow:
    """A row of a rollout in a state that nobody has recorded."""
    plan = state.forward.plan
    about = {"id": state.rollout, "key": "0", "created": 1.0, "actor": "ann", "target": "t"}
    told = {"release": plan.release, "version": plan.version, "head": state.head}
    return rows.RolloutRow.model_validate({**about, **told, **others})


def glance_of(state: State, row: rows.RolloutRow | None = None) -> Glance:
    """What is seen at a glance of a rollout in a state."""
    number = coming(state.head, state.forward.position, len(state.forward.plan.waves))
    steps = state.forward.plan.waves[number].steps if number is not None else ()
    known = {step.deployment: state.forward.track(step.deployment).foreseen for step in steps}
    return Glance(
        row=row or row_of(state),
        forward=_leg(state.forward),
        back=_leg(state.back) if state.back else None,
        foreseen={name: seen for name, seen in known.items() if seen},
    )


def course_of(state: State) -> Course:
    """What a rollout in a state was to do and did."""
    leg, back = state.forward, state.back.tracks.values() if state.back else ()
    return Course(
        row=row_of(state),
        outline=Outline.of(leg.plan),
        wave=leg.position.wave,
        marks={name: Mark(t.phase, t.attempt, t.at, t.changed) for name, t in leg.tracks.items()},
        back_attempts=sum(track.attempt for track in back),
    )


def _leg(leg: Leg) -> LegGlance:
    return LegGlance(
        leg.position,
        Outline.of(leg.plan),
        phases={name: track.phase for name, track in leg.tracks.items()},
        failed={name: Failed(track.fault, track.reason) for name, track in leg.tracks.items() if track.fault},
        again=frozenset(name for name, track in leg.tracks.items() if track.attempt > 1),
    )
