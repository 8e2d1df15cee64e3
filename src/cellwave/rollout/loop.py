"""The loop: a transaction takes the turns of one rollout that there are to take.

A turn takes the next event of the rollout's inbox (or the time that has come), decides, and writes what changed, the
journal's lines and the effects that are wanted; the rollout's row is locked. Killed anywhere, a turn was taken whole or
not at all; no decision is ever made a second time.
"""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
import structlog
from pydantic import ValidationError

from cellwave.rollout import rows
from cellwave.rollout.decide import decide
from cellwave.rollout.model import LONGEST_LOOK_SECONDS, Event, Ticked, has_come
from cellwave.rollout.records import Records
from cellwave.rollout.rows import EVENTS, Memory, Taken
from cellwave.rollout.tables import INBOX, ROLLOUTS
from cellwave.text import redact

UNABLE = (
    ArithmeticError, LookupError, TypeError, ValueError, AssertionError, AttributeError,
    sa.exc.DataError, sa.exc.IntegrityError,
)  # fmt: skip
# Asked ten times a second: to make it anew costs as much as to ask.
TOLD = sa.select(INBOX.c.rollout).where(INBOX.c.turn.is_(None))
NOT_DUE = sa.and_(ROLLOUTS.c.due > sa.bindparam("now"), ROLLOUTS.c.due <= sa.bindparam("later"))
DUE = sa.and_(sa.not_(ROLLOUTS.c.ended), ROLLOUTS.c.due.is_not(None), sa.not_(NOT_DUE))
READY = (
    sa.select(ROLLOUTS.c.id, ROLLOUTS.c.turn)
    .where(ROLLOUTS.c.target == sa.bindparam("of"), sa.or_(DUE, ROLLOUTS.c.id.in_(TOLD)))
    .order_by(ROLLOUTS.c.created)
)
MOST = 50  # turns that a transaction takes: what they ask for is handed over after it
log = structlog.get_logger()


def take_turn(records: Records, memory: Memory, rollout: str, now: float) -> bool:
    """Let a rollout take in what has happened; False when nothing has. `now` is epoch seconds."""
    with records.transaction() as db:
        row = rows.lock(db, rollout)
        events = _events(db, row, now) if row else []
        if not row or not events:
            return False
        state, taken = rows.load(db, row, memory), []
        for number, event in events:
            turn = decide(state, event)
            taken.append(Taken(turn, event.at, number))
            state = turn.state
        rows.keep(db, row, taken)
    # Only what is in the database is remembered.
    memory.states[rollout] = state
    return True


def _events(db: sa.Connection, row: sa.Row[Any], now: float) -> list[tuple[int | None, Event]]:
    """What there is to take. One that can't be taken takes none with it that can: then it is one at a time, and a
    person's word goes first, who may want out."""
    events: list[tuple[int | None, Event]] = []
    most = 1 if row.trouble else MOST
    while not events and (told := rows.next_events(db, row.id, most, commands_first=bool(row.trouble))):
        for number, text in told:
            try:
                events.append((number, EVENTS.validate_json(text)))
            except ValidationError as error:
                rows.set_aside(db, row.id, number, redact(f"not understood: {text}: {error}"), now)
    due = row.due is not None and has_come(row.due, now)
    return events or ([(None, Ticked(at=now))] if due else [])


def ready(records: Records, target: str, now: float) -> dict[str, int]:
    """The rollouts of a state backend that have a turn to take, and how many they took."""
    later = now + 2 * LONGEST_LOOK_SECONDS  # see `has_come`
    with records.reader.connect() as db:
        found = db.execute(READY, {"of": target, "now": now, "later": later})
        return {row.id: row.turn for row in found}


def take_turns(records: Records, memory: Memory, target: str, now: float) -> bool:
    """Let every rollout that can take a turn; whether any did. One that can't is left with the reason, and told of.

    A rollout whose turns another worker takes is left to it as long as it does: to know again what that one knows costs
    what the fleet is big."""
    moved = False
    for rollout, turn in ready(records, target, now).items():
        if memory.leaves_to_another(rollout, turn, time.monotonic()):
            continue
        try:
            moved = take_turn(records, memory, rollout, now) or moved
        except UNABLE as error:
            # What this version can't read, decide on or keep: the others go on, and `status` says why this does not.
            log.exception("a turn could not be taken", rollout=rollout)
            memory.states.pop(rollout, None)
            records.trouble(rollout, redact(f"{type(error).__name__}: {error}"))
    return moved
