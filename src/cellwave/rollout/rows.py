"""A rollout in the database: its rows as the values of model.py, and a turn's outcome as rows.

Functions of an open transaction: whoever calls them decides what is kept together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.dialects import postgresql, sqlite

from cellwave.frozen import Frozen
from cellwave.health.model import GateResult
from cellwave.rollout.journal import Entry, seal
from cellwave.rollout.model import (
    Abort,
    Answer,
    Applied,
    Deploy,
    Effect,
    Event,
    Foreseen,
    Head,
    HoldRelease,
    Leg,
    Note,
    Notify,
    Position,
    Preview,
    Prove,
    Ran,
    State,
    Track,
    Turn,
)
from cellwave.rollout.tables import (
    ABORTS,
    INBOX,
    JOURNAL,
    LEASES,
    OUTBOX,
    PLANS,
    READINGS,
    ROLLOUTS,
    STACKS,
    TRACKS,
)
from cellwave.text import storable
from cellwave.waves.model import Plan

EVENTS: TypeAdapter[Event] = TypeAdapter(Event)
EFFECTS: TypeAdapter[Effect] = TypeAdapter(Effect)
GATES: TypeAdapter[list[GateResult]] = TypeAdapter(list[GateResult])
FORWARD, BACK = "forward", "back"
COMMAND = "command:"  # how the keys of people's commands in an inbox begin
ASIDE = -1  # the turn of an event that none can take
JOURNAL_LOCK = 7263  # of PostgreSQL: one writer at a time keeps the journal's chain straight


class RolloutRow(Frozen):
    """A rollout as recorded, without its plan and tracks. `target` names the state backend it works on, `created` is
    epoch seconds, `trouble` why its last turn could not be taken ("": it could)."""

    id: str
    key: str
    created: float
    actor: str
    target: str
    release: str
    version: str
    head: Head
    trouble: str = ""

    @property
    def name(self) -> str:
        """What attempts of it begin with: see `unique_name`."""
        return unique_name(self.id, self.key)


@dataclass
class Memory:
    """Plans and states as this process last saw them: to load one costs what its fleet is big, a turn what changed."""

    plans: dict[str, Plan] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)


def upsert(db: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows, over those of the same primary key."""
    if not rows:
        return
    insert = _insert(db, table)
    keys = [column.name for column in table.primary_key]
    rest = {c.name: insert.excluded[c.name] for c in table.columns if c.name not in keys}
    db.execute(insert.on_conflict_do_update(index_elements=keys, set_=rest), list(rows))


def _insert(db: sa.Connection, table: sa.Table) -> Any:
    # The two speak of conflicts in the same words, but have no insert in common.
    return (sqlite if db.dialect.name == "sqlite" else postgresql).insert(table)


def insert_new(db: sa.Connection, table: sa.Table, key: str, row: Mapping[str, object]) -> None:
    """Write a row unless there is one of this (unique) key already."""
    insert = _insert(db, table).values(dict(row))
    db.execute(insert.on_conflict_do_nothing(index_elements=[key]))


def insert_rollout(db: sa.Connection, row: RolloutRow, state: State, started: Event) -> None:
    """Record a new rollout and tell it that it begins."""
    values = row.model_dump(exclude={"head"}) | _columns(db, state)
    db.execute(sa.insert(ROLLOUTS).values(values))
    _write_tracks(db, state, [(False, name) for name in state.forward.tracks])
    tell(db, f"{row.name}:started", row.id, started)


def tell(db: sa.Connection, key: str, rollout: str, event: Event) -> None:
    """Put an event into a rollout's inbox; one of the same key is there once."""
    insert_new(db, INBOX, "key", {"key": key, "rollout": rollout, "event": event.model_dump_json()})


def lock(db: sa.Connection, rollout: str) -> sa.Row[Any] | None:
    """The rollout's row, which nobody else changes until the transaction ends."""
    # (SQLite has one writer at a time: there it is the transaction that locks.)
    return db.execute(sa.select(ROLLOUTS).where(ROLLOUTS.c.id == rollout).with_for_update()).first()


def next_event(db: sa.Connection, rollout: str, *, commands_first: bool) -> tuple[int, str] | None:
    """The oldest event that no turn has taken, as JSON, and its number."""
    untaken = sa.select(INBOX.c.seq, INBOX.c.event).where(INBOX.c.rollout == rollout, INBOX.c.turn.is_(None))
    order = [INBOX.c.key.startswith(COMMAND).desc()] if commands_first else []
    found = db.execute(untaken.order_by(*order, INBOX.c.seq).limit(1)).first()
    return (found.seq, found.event) if found else None


def load(db: sa.Connection, row: sa.Row[Any], memory: Memory) -> State:
    """The state of a rollout's row: from memory as far as that is not older."""
    known = memory.states.get(row.id)
    if known is not None and known.head.turn == row.turn:
        return known
    return State(
        head=Head.model_validate_json(row.head),
        forward=_leg(db, row.id, FORWARD, _plan(db, row.plan, memory), row.forward),
        back=_leg(db, row.id, BACK, _plan(db, row.back_plan, memory), row.back) if row.back else None,
    )


def keep(db: sa.Connection, row: sa.Row[Any], turn: Turn, at: float, taken: int | None) -> None:
    """Write what a turn changed, and what it asked for. `taken` is the number of the event that it took."""
    state, rollout = turn.state, row.id
    db.execute(
        sa.update(ROLLOUTS).where(ROLLOUTS.c.id == rollout).values(_columns(db, state, row) | {"trouble": ""})
    )
    _write_tracks(db, state, turn.changed)
    if turn.readings is not None:
        write_readings(db, rollout, turn.readings)
    for number, note in enumerate(turn.notes):
        append(db, f"{rollout}/{state.head.turn}/{number}", at, rollout, note)
    for ran in turn.ran:
        write_ran(db, ran, row.target, at)
    for effect in turn.effects:
        _ask(db, row, effect, at)
    if taken is not None:
        answer_event(db, taken, state.head.turn, turn.answer)
    if state.head.outcome:
        db.execute(sa.delete(LEASES).where(LEASES.c.owner == rollout))


def set_aside(db: sa.Connection, rollout: str, seq: int, why: str, at: float) -> None:
    """Leave an event that can't be read where it is, and take the next one instead; the journal says so."""
    db.execute(sa.update(INBOX).where(INBOX.c.seq == seq).values(turn=ASIDE))
    append(db, f"{rollout}/aside/{seq}", at, rollout, Note(kind="set_aside", text=why))


def answer_event(db: sa.Connection, seq: int, turn: int, answer: Answer | None) -> None:
    """An event was taken; what became of it, where it was a command."""
    values = {"turn": turn, **({"answer": answer.kind, "said": storable(answer.said)} if answer else {})}
    db.execute(sa.update(INBOX).where(INBOX.c.seq == seq).values(values))


def write_readings(db: sa.Connection, rollout: str, gates: Iterable[GateResult]) -> None:
    """Keep the gates as last read, instead of those before."""
    db.execute(sa.delete(READINGS).where(READINGS.c.rollout == rollout))
    by_cell = groupby(sorted(gates, key=lambda gate: gate.cell), key=lambda gate: gate.cell)
    rows = [
        {"rollout": rollout, "cell": cell, "gates": GATES.dump_json(list(found)).decode()}
        for cell, found in by_cell
    ]
    if rows:
        db.execute(sa.insert(READINGS), rows)


def read_readings(db: sa.Connection, rollout: str) -> tuple[GateResult, ...]:
    """The gates as last read."""
    rows = db.execute(
        sa.select(READINGS.c.gates).where(READINGS.c.rollout == rollout).order_by(READINGS.c.cell)
    )
    return tuple(gate for text in rows.scalars() for gate in GATES.validate_json(text))


def write_ran(db: sa.Connection, ran: Ran, target: str, at: float) -> None:
    """Record what is known of what a stack runs."""
    mine = (STACKS.c.stack == ran.deployment, STACKS.c.target == target)
    match ran.kind:
        case "gone":
            db.execute(sa.delete(STACKS).where(*mine))
        case "proven":
            proven = {"release": ran.release, "known": True, "outputs": json.dumps(ran.outputs), "at": at}
            upsert(db, STACKS, [{"stack": ran.deployment, "target": target, "inputs": ran.inputs, **proven}])
        case "unknown":
            doubted = {"release": None, "known": False, "outputs": "{}", "at": at}
            row = {"stack": ran.deployment, "target": target, **doubted}
            doubt = sa.update(STACKS).where(*mine).values(before=STACKS.c.known, known=False, at=at)
            if not db.execute(doubt).rowcount:
                db.execute(sa.insert(STACKS).values(row))
        case "unchanged":
            # An attempt that changed nothing takes no doubt away that was there before it.
            nothing = (STACKS.c.release.is_(None), STACKS.c.before.is_(None))
            db.execute(sa.delete(STACKS).where(*mine, *nothing))
            as_before = sa.func.coalesce(STACKS.c.before, sa.true())
            db.execute(sa.update(STACKS).where(*mine).values(known=as_before, before=None, at=at))


def append(db: sa.Connection, key: str, at: float, rollout: str, note: Note) -> None:
    """Append a journal line; the same `key` is written once."""
    if db.dialect.name == "postgresql":
        db.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": JOURNAL_LOCK})
    if db.execute(sa.select(JOURNAL.c.seq).where(JOURNAL.c.key == key)).first():
        return
    last = db.execute(sa.select(JOURNAL).order_by(JOURNAL.c.seq.desc()).limit(1)).first()
    entry = seal(entry_of(last) if last else None, at=at, rollout=rollout, **note.model_dump())
    db.execute(sa.insert(JOURNAL).values(key=key, **entry.model_dump()))


def entry_of(row: sa.Row[Any]) -> Entry:
    """A journal line of its row."""
    return Entry.model_validate({name: getattr(row, name) for name in Entry.model_fields})


def rollout_of(row: sa.Row[Any]) -> RolloutRow:
    """A rollout's value of its row."""
    fields = {name: getattr(row, name) for name in RolloutRow.model_fields if name != "head"}
    return RolloutRow(**fields, head=Head.model_validate_json(row.head))


def unique_name(rollout: str, key: str) -> str:
    """A rollout's name that is unique for ever, also where a database was lost and names began anew. (An earlier
    version gave rollouts no key.)"""
    return f"{rollout}.{key}" if key else rollout


def attempt_name(rollout: str, deployment: str, attempt: int, *, back: bool) -> str:
    """An attempt's name; `rollout` is the rollout's name that is unique for ever."""
    return f"{rollout}:{deployment}:{BACK if back else FORWARD}:{attempt}"


def preview_name(rollout: str, deployment: str, number: int) -> str:
    """A preview's name, as unique as an attempt's."""
    return f"{rollout}:{deployment}:preview:{number}"


def effect_key(name: str, effect: Effect) -> str:
    """An effect's name, unique for ever: asked for twice, it is the same one. `name` is the rollout's."""
    match effect:
        case Abort(ahead=True):
            return preview_name(name, effect.deployment, effect.attempt)
        case Preview():
            return preview_name(name, effect.step.deployment, effect.number)
        case Deploy() | Abort():
            deployment = effect.deployment if isinstance(effect, Abort) else effect.step.deployment
            return attempt_name(name, deployment, effect.attempt, back=effect.back)
        case Prove():
            return attempt_name(name, effect.step.deployment, effect.attempt, back=effect.back) + ":prove"
        case HoldRelease():
            return f"{name}:hold"
        case Notify():
            return f"{name}:notify:{effect.turn}:{effect.what}"
        case _:
            return f"{name}:{effect.kind}:{effect.look}"


def _ask(db: sa.Connection, row: sa.Row[Any], effect: Effect, at: float) -> None:
    key = effect_key(unique_name(row.id, row.key), effect)
    if isinstance(effect, Abort):
        insert_new(db, ABORTS, "attempt", {"attempt": key})
        return
    asked = {"effect": effect.model_dump_json(), "asked": at, "placed": False, "round": 0}
    insert_new(db, OUTBOX, "key", {"key": key, "rollout": row.id, "target": row.target, **asked})


def _columns(db: sa.Connection, state: State, row: sa.Row[Any] | None = None) -> dict[str, object]:
    columns: dict[str, object] = {
        "head": state.head.model_dump_json(),
        "forward": state.forward.position.model_dump_json(),
        "back": state.back.position.model_dump_json() if state.back else None,
        "turn": state.head.turn,
        "due": state.due,
        "ended": bool(state.head.outcome),
    }
    if row is None:
        columns["plan"] = _keep_plan(db, state.forward.plan)
    if state.back and (row is None or row.back_plan is None):
        columns["back_plan"] = _keep_plan(db, state.back.plan)
    return columns


def _keep_plan(db: sa.Connection, plan: Plan) -> str:
    text = plan.to_json()
    name = sha256(text.encode()).hexdigest()
    insert_new(db, PLANS, "hash", {"hash": name, "plan": text})
    return name


def _plan(db: sa.Connection, name: str, memory: Memory) -> Plan:
    if name not in memory.plans:
        text = db.execute(sa.select(PLANS.c.plan).where(PLANS.c.hash == name)).scalar_one()
        memory.plans[name] = Plan.model_validate_json(text)
    return memory.plans[name]


def _leg(db: sa.Connection, rollout: str, leg: str, plan: Plan, position: str) -> Leg:
    query = sa.select(TRACKS).where(TRACKS.c.rollout == rollout, TRACKS.c.leg == leg)
    tracks = {
        row.deployment: Track(
            phase=row.phase,
            attempt=row.attempt,
            at=row.at,
            reason=row.reason,
            changed=row.changed,
            fault=row.fault,
            applied=Applied.model_validate_json(row.applied) if row.applied else None,
            foreseen=Foreseen.model_validate_json(row.foreseen) if row.foreseen else None,
        )
        for row in db.execute(query)
    }
    return Leg.of(plan, Position.model_validate_json(position), tracks)


def _write_tracks(db: sa.Connection, state: State, changed: Iterable[tuple[bool, str]]) -> None:
    rows = []
    for back, deployment in dict.fromkeys(changed):
        leg = state.back if back else state.forward
        assert leg is not None
        track = leg.track(deployment)
        row = track.model_dump(exclude={"applied", "foreseen"}) | {"reason": storable(track.reason)}
        row |= {"rollout": state.head.rollout, "leg": BACK if back else FORWARD, "deployment": deployment}
        row["applied"] = track.applied.model_dump_json() if track.applied else None
        rows.append(row | {"foreseen": track.foreseen.model_dump_json() if track.foreseen else None})
    upsert(db, TRACKS, rows)
