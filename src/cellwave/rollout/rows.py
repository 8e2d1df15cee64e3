"""A rollout in the database: its rows as the values of model.py, and a turn's outcome as rows.

Functions of an open transaction: whoever calls them decides what is kept together.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from typing import Any, NamedTuple

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.dialects import postgresql, sqlite

from cellwave.frozen import Frozen
from cellwave.health.model import GateResult
from cellwave.rollout.journal import Entry, seal
from cellwave.rollout.keys import BACK, FORWARD, effect_key, unique_name
from cellwave.rollout.model import (
    Abort,
    Answer,
    Applied,
    Effect,
    Event,
    Foreseen,
    Head,
    Leg,
    Note,
    Position,
    Ran,
    State,
    Track,
    Turn,
)
from cellwave.rollout.outline import Outline
from cellwave.rollout.tables import (
    ABORTS,
    INBOX,
    JOURNAL,
    LEASES,
    OUTBOX,
    OUTLINES,
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
COMMAND = "command:"  # how the keys of people's commands in an inbox begin
ASIDE = -1  # the turn of an event that none can take
LEFT_SECONDS = 1.0  # how long a turn that is ready waits for the worker that took the one before
JOURNAL_LOCK = 7263  # of PostgreSQL: one writer at a time keeps the journal's chain straight
# What every turn does. A statement that is made once is compiled once; to make one costs more than to run it.
LOCKED = sa.select(ROLLOUTS).where(ROLLOUTS.c.id == sa.bindparam("of")).with_for_update()
UNTAKEN = (
    sa.select(INBOX.c.seq, INBOX.c.event)
    .where(INBOX.c.rollout == sa.bindparam("of"), INBOX.c.turn.is_(None))
    .limit(sa.bindparam("most"))
    .order_by(INBOX.c.seq)
)
COMMANDS_FIRST = UNTAKEN.order_by(None).order_by(INBOX.c.key.startswith(COMMAND).desc(), INBOX.c.seq)
ANSWER = sa.update(INBOX).where(INBOX.c.seq == sa.bindparam("number"))
NEWEST = sa.select(JOURNAL).order_by(JOURNAL.c.seq.desc()).limit(1)
GONE_STACK = sa.delete(STACKS).where(
    STACKS.c.stack == sa.bindparam("of"), STACKS.c.target == sa.bindparam("on")
)


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
    _left: dict[str, tuple[int, float]] = field(default_factory=dict)

    def leaves_to_another(self, rollout: str, turn: int, at: float) -> bool:
        """Whether a turn that is ready after so many, at a moment (any clock's seconds), is left to who took the last:
        not for longer than LEFT_SECONDS."""
        known = self.states.get(rollout)
        if known is None or known.head.turn >= turn:
            self._left.pop(rollout, None)
            return False
        seen, since = self._left.get(rollout, (turn, at))
        self._left[rollout] = (turn, since if seen == turn else at)
        return at - self._left[rollout][1] < LEFT_SECONDS


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


def insert_new(db: sa.Connection, table: sa.Table, key: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows, but for those of whose (unique) key there is one already."""
    if rows:
        db.execute(_insert(db, table).on_conflict_do_nothing(index_elements=[key]), list(rows))


def insert_rollout(db: sa.Connection, row: RolloutRow, state: State, started: Event) -> None:
    """Record a new rollout and tell it that it begins."""
    values = row.model_dump(exclude={"head"}) | _columns(db, state)
    db.execute(sa.insert(ROLLOUTS).values(values))
    _write_tracks(db, state, [(False, name) for name in state.forward.tracks])
    tell(db, [(f"{row.name}:started", row.id, started)])


def tell(db: sa.Connection, told: Iterable[tuple[str, str, Event]]) -> None:
    """Put events, each under its key, into rollouts' inboxes; one of the same key is there once."""
    rows = [
        {"key": key, "rollout": rollout, "event": event.model_dump_json()} for key, rollout, event in told
    ]
    insert_new(db, INBOX, "key", rows)


def require(db: sa.Connection, rollout: str) -> sa.Row[Any]:
    """The rollout's row; LookupError when there is none of that name."""
    if row := db.execute(sa.select(ROLLOUTS).where(ROLLOUTS.c.id == rollout)).first():
        return row
    raise LookupError(f"no rollout {rollout} is recorded")


def lock(db: sa.Connection, rollout: str) -> sa.Row[Any] | None:
    """The rollout's row, which nobody else changes until the transaction ends."""
    # (SQLite has one writer at a time: there it is the transaction that locks.)
    return db.execute(LOCKED, {"of": rollout}).first()


def next_events(
    db: sa.Connection, rollout: str, most: int, *, commands_first: bool
) -> Sequence[tuple[int, str]]:
    """The oldest events that no turn has taken, as JSON, and their numbers."""
    untaken = COMMANDS_FIRST if commands_first else UNTAKEN
    return [(row.seq, row.event) for row in db.execute(untaken, {"of": rollout, "most": most})]


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


class Taken(NamedTuple):
    """A turn that was taken: at `at` (epoch seconds), of the `event` of that number in the inbox (None: of none)."""

    turn: Turn
    at: float
    event: int | None = None


def keep(db: sa.Connection, row: sa.Row[Any], taken: Sequence[Taken]) -> None:
    """Write what turns of a rollout changed, one after the other, and what they asked for."""
    state, rollout = taken[-1].turn.state, row.id
    columns = _columns(db, state, row) | {"trouble": ""}
    db.execute(sa.update(ROLLOUTS).where(ROLLOUTS.c.id == rollout).values(columns))
    _write_tracks(db, state, [track for turn, *_ in taken for track in turn.changed])
    readings = [turn.readings for turn, *_ in taken if turn.readings is not None]
    if readings:
        write_readings(db, rollout, readings[-1])
    notes = {
        f"{rollout}/{turn.state.head.turn}/{number}": (at, note)
        for turn, at, _ in taken
        for number, note in enumerate(turn.notes)
    }
    _append_new(db, rollout, notes)
    write_ran(db, [(ran, at) for turn, at, _ in taken for ran in turn.ran], row.target)
    _ask(db, row, [(effect, at) for turn, at, _ in taken for effect in turn.effects])
    events = [(event, turn.state.head.turn, turn.answer) for turn, _, event in taken if event is not None]
    answer_events(db, events)
    if state.head.outcome:
        db.execute(sa.delete(LEASES).where(LEASES.c.owner == rollout))


def set_aside(db: sa.Connection, rollout: str, seq: int, why: str, at: float) -> None:
    """Leave an event that can't be read where it is, and take the next one instead; the journal says so."""
    db.execute(sa.update(INBOX).where(INBOX.c.seq == seq).values(turn=ASIDE))
    append(db, f"{rollout}/aside/{seq}", at, rollout, Note(kind="set_aside", text=why))


def answer_events(db: sa.Connection, answered: Iterable[tuple[int, int, Answer | None]]) -> None:
    """Events, by their numbers, were taken by turns; what became of those that were commands."""
    rows = [
        {"number": number, "turn": turn}
        | {"answer": answer.kind if answer else None, "said": storable(answer.said) if answer else None}
        for number, turn, answer in answered
    ]
    if rows:
        db.execute(ANSWER, rows)


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


def write_ran(db: sa.Connection, told: Iterable[tuple[Ran, float]], target: str) -> None:
    """Record what is known of what stacks run, and since when (epoch seconds), for each stack in that order."""
    alike: dict[tuple[int, str], list[tuple[Ran, float]]] = {}
    told_before: Counter[str] = Counter()
    for ran, at in told:
        alike.setdefault((told_before[ran.deployment], ran.kind), []).append((ran, at))
        told_before[ran.deployment] += 1
    for (_, kind), some in sorted(alike.items(), key=lambda one: one[0][0]):
        rows: list[dict[str, Any]] = []
        for ran, at in some:
            known = {
                "release": ran.release,
                "known": True,
                "inputs": ran.inputs,
                "outputs": json.dumps(ran.outputs),
            }
            doubted = {"release": None, "known": False, "inputs": None, "outputs": "{}"}
            what = known if kind == "proven" else doubted
            rows.append({"stack": ran.deployment, "target": target, "at": at, "before": None, **what})
        match kind:
            case "gone":
                db.execute(GONE_STACK, [{"of": row["stack"], "on": target} for row in rows])
            case "proven":
                upsert(db, STACKS, rows)
            case "unknown":
                insert = _insert(db, STACKS)
                was = {"before": STACKS.c.known, "at_before": STACKS.c.at}
                doubt = {**was, "known": False, "at": insert.excluded.at}
                keys = ["stack", "target"]
                db.execute(insert.on_conflict_do_update(index_elements=keys, set_=doubt), rows)
            case "unchanged":
                for row in rows:
                    _undoubt(db, row)


def _undoubt(db: sa.Connection, row: Mapping[str, Any]) -> None:
    # An attempt that changed nothing takes no doubt away that was there before it.
    mine = (STACKS.c.stack == row["stack"], STACKS.c.target == row["target"])
    nothing = (STACKS.c.release.is_(None), STACKS.c.before.is_(None))
    db.execute(sa.delete(STACKS).where(*mine, *nothing))
    as_before = sa.func.coalesce(STACKS.c.before, sa.true())
    since = sa.func.coalesce(STACKS.c.at_before, row["at"])
    db.execute(sa.update(STACKS).where(*mine).values(known=as_before, at=since, before=None, at_before=None))


def append(db: sa.Connection, key: str, at: float, rollout: str, note: Note) -> None:
    """Append a journal line; the same `key` is written once."""
    _lock_journal(db)
    if not db.execute(sa.select(JOURNAL.c.seq).where(JOURNAL.c.key == key)).first():
        _append_new(db, rollout, {key: (at, note)})


def _append_new(db: sa.Connection, rollout: str, notes: Mapping[str, tuple[float, Note]]) -> None:
    """Append journal lines, by keys that no line has yet."""
    if not notes:
        return
    _lock_journal(db)
    newest = db.execute(NEWEST).first()
    last, lines = entry_of(newest) if newest else None, []
    for key, (at, note) in notes.items():
        last = seal(last, at=at, rollout=rollout, **dict(note))
        lines.append({"key": key, **dict(last)})
    db.execute(sa.insert(JOURNAL), lines)


def _lock_journal(db: sa.Connection) -> None:
    if db.dialect.name == "postgresql":
        db.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": JOURNAL_LOCK})


def entry_of(row: sa.Row[Any]) -> Entry:
    """A journal line of its row."""
    return Entry.model_validate({name: getattr(row, name) for name in Entry.model_fields})


def rollout_of(row: sa.Row[Any]) -> RolloutRow:
    """A rollout's value of its row."""
    fields = {name: getattr(row, name) for name in RolloutRow.model_fields if name != "head"}
    return RolloutRow(**fields, head=Head.model_validate_json(row.head))


def _ask(db: sa.Connection, row: sa.Row[Any], effects: Iterable[tuple[Effect, float]]) -> None:
    name, aborts, asked = unique_name(row.id, row.key), [], []
    for effect, at in effects:
        key = effect_key(name, effect)
        if isinstance(effect, Abort):
            aborts.append({"attempt": key})
            continue
        fields = {"effect": effect.model_dump_json(), "asked": at, "placed": False, "round": 0}
        asked.append({"key": key, "rollout": row.id, "target": row.target, **fields})
    insert_new(db, ABORTS, "attempt", aborts)
    insert_new(db, OUTBOX, "key", asked)


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
    insert_new(db, PLANS, "hash", [{"hash": name, "plan": text}])
    insert_new(db, OUTLINES, "plan", [{"plan": name, "outline": Outline.of(plan).model_dump_json()}])
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
