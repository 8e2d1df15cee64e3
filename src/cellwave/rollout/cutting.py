"""What works on a state backend that is emptied is cut off: its rollouts are over, and what ran there is forgotten."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cellwave.rollout import rows
from cellwave.rollout.leg import Leg
from cellwave.rollout.model import Answer, Note, State, Turn
from cellwave.rollout.records import Records
from cellwave.rollout.rows import Memory
from cellwave.rollout.tables import INBOX, OUTBOX, ROLLOUTS, STACKS


def forget_target(records: Records, target: str, why: str, at: float) -> tuple[str, ...]:
    """Forget what runs on a state backend that is emptied, in one transaction; `at` is epoch seconds.

    Its stacks go. Its unfinished rollouts end as failed, and answer what still waits for an answer; their leases and
    effects go. Returns their names. The journal says of each stack and rollout why.
    """
    with records.transaction() as db:
        # Rollouts before the journal, as a turn does: of two that lock, neither waits for the other.
        alive = sa.select(ROLLOUTS).where(ROLLOUTS.c.target == target, sa.not_(ROLLOUTS.c.ended))
        unfinished = db.execute(alive.order_by(ROLLOUTS.c.created).with_for_update()).all()
        stacks = db.execute(sa.select(STACKS).where(STACKS.c.target == target).order_by(STACKS.c.stack))
        for stack in stacks.all():
            ran = f"release {stack.release[:12]}" if stack.release else "nothing that was proven"
            note = Note(kind="forgotten", text=f"ran {ran}: {why}", subject=stack.stack)
            rows.append(db, f"forgotten/{target}/{stack.stack}/{at!r}", at, "", note)
        db.execute(sa.delete(STACKS).where(STACKS.c.target == target))
        for row in unfinished:
            _end(db, row, why, at)
            db.execute(sa.delete(OUTBOX).where(OUTBOX.c.rollout == row.id))
    return tuple(row.id for row in unfinished)


def cut_off(state: State, why: str, at: float) -> State:
    """The state of a rollout that is over because what it works on is gone since `at` (epoch seconds). Pure."""

    def ended(leg: Leg) -> Leg:
        over = {"phase": "failed", "reason": why, "at": at, "changed": True}
        for step in leg.running:
            leg = leg.put(step.deployment, leg.track(step.deployment).model_copy(update=over))
        return leg

    over = {"turn": state.head.turn + 1, "outcome": "failed", "reason": why, "ended_at": at, "waiting": None}
    head = state.head.model_copy(update=over)
    return State(head=head, forward=ended(state.forward), back=ended(state.back) if state.back else None)


def _end(db: sa.Connection, row: sa.Row[Any], why: str, at: float) -> None:
    state = rows.load(db, row, Memory())
    over = cut_off(state, why, at)
    legs = ((False, state.forward), (True, state.back))
    changed = frozenset((back, step.deployment) for back, leg in legs if leg for step in leg.running)
    turn = Turn(state=over, notes=(Note(kind="failed", text=why),), changed=changed)
    rows.keep(db, row, [rows.Taken(turn, at)])
    untaken = sa.select(INBOX).where(INBOX.c.rollout == row.id, INBOX.c.turn.is_(None))
    for event in db.execute(untaken).all():
        command = event.key.startswith(rows.COMMAND)
        answer = Answer(kind="refused", said=f"it has ended: {why}") if command else None
        rows.answer_events(db, [(event.seq, over.head.turn, answer)])
