"""What outlives every process: rollouts, leases, what each stack runs, and the journal. SQLite or PostgreSQL.

Every method is one transaction. Writers are the one worker and any number of command lines.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from cellwave.errors import Leased
from cellwave.frozen import Frozen
from cellwave.processes import alive, this, written
from cellwave.rollout.database import database_files, open_engine, unreachable
from cellwave.rollout.journal import Entry, seal
from cellwave.rollout.schema import bring_up_to_date
from cellwave.rollout.state import Commanded, Note, State, Turn, cut_off
from cellwave.rollout.tables import ABORTS, COMMANDS, JOURNAL, LEASES, PROGRESS, ROLLOUTS, STACKS
from cellwave.text import storable

KEPT = 20  # ended rollouts, and attempts of `up` and `down` a stack, the newest, of which all is kept unless one says
UP = "up:"  # how the owner of a lease begins that is a process


class RolloutRow(Frozen):
    """A rollout as recorded. `target` names the state backend it works on; `created` is epoch seconds."""

    id: str
    created: float
    actor: str
    target: str
    state: State


@dataclass(frozen=True)
class StackRow:
    """What a stack runs: the release's digest, its outputs, and since when (epoch seconds)."""

    stack: str
    target: str
    release: str
    outputs: dict[str, str]
    at: float


def recorded(url: str) -> Records | None:
    """The database as far as there is one: None where only making the file would find it."""
    files = database_files(url)
    return Records(url) if not files or files[0].exists() else None


class Records:
    """The database of that URL; BadInput or Unavailable as `open_engine`."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        try:
            bring_up_to_date(self.engine)
        except sa.exc.DBAPIError as error:
            self.engine.dispose()
            raise unreachable(self.engine.url, error) from error

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with self.engine.begin() as connection:
            # One writer at a time keeps the journal's chain straight.
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(7263)"))
            yield connection

    def create_rollout(self, row: RolloutRow) -> None:
        """Record a new rollout and lease its cells, or neither; Leased names the owner of a cell that is taken."""
        with self._transaction() as db:
            if db.execute(sa.select(ROLLOUTS.c.id).where(ROLLOUTS.c.id == row.id)).first():
                raise Leased(f"{row.id} was started by another command just now")
            self._lease(db, row.state.forward.plan.cells, row.id)
            values = {
                **row.model_dump(exclude={"state"}),
                "ended": False,
                "state": row.state.model_dump_json(),
            }
            db.execute(sa.insert(ROLLOUTS).values(values))

    def next_id(self, version: str) -> str:
        """A rollout name that is not taken: `<version>-<n>`."""
        with self.engine.connect() as db:
            query = (
                sa.select(sa.func.count())
                .select_from(ROLLOUTS)
                .where(ROLLOUTS.c.id.startswith(f"{version}-", autoescape=True))
            )
            return f"{version}-{(db.execute(query).scalar() or 0) + 1}"

    def rollouts(self) -> list[RolloutRow]:
        """All rollouts, the newest first."""
        with self.engine.connect() as db:
            return [
                _rollout(row) for row in db.execute(sa.select(ROLLOUTS).order_by(ROLLOUTS.c.created.desc()))
            ]

    def unfinished(self, target: str) -> set[str]:
        """The names of a state backend's rollouts that have not ended."""
        with self.engine.connect() as db:
            query = sa.select(ROLLOUTS.c.id).where(ROLLOUTS.c.target == target, sa.not_(ROLLOUTS.c.ended))
            return set(db.execute(query).scalars())

    def rollout(self, name: str) -> RolloutRow | None:
        """One rollout; None when there is none of that name."""
        with self.engine.connect() as db:
            row = db.execute(sa.select(ROLLOUTS).where(ROLLOUTS.c.id == name)).first()
            return _rollout(row) if row else None

    def commit_turn(self, turn: Turn, at: float, target: str) -> bool:
        """Keep a decision: the state, its journal lines, what each stack now runs; leases go when it has ended.

        Doing it twice is the same as once: journal lines have a key made of the rollout and its turn. False, and
        nothing is kept, when the rollout was ended by another hand (`forget_target`): it stays as that left it.
        """
        state = turn.state
        with self._transaction() as db:
            mine = ROLLOUTS.c.id == state.rollout
            known = db.execute(sa.select(ROLLOUTS.c.ended, ROLLOUTS.c.state).where(mine)).first()
            if known is None or (known.ended and State.model_validate_json(known.state) != state):
                return False
            values = {"state": state.model_dump_json(), "ended": bool(state.outcome)}
            db.execute(sa.update(ROLLOUTS).where(mine).values(values))
            for number, note in enumerate(turn.notes):
                self._append(db, f"{state.rollout}/{state.turn}/{number}", at, state.rollout, note)
            for ran in turn.ran:
                self._forget_stack(db, ran.deployment, target)
                if ran.release is not None:
                    self._set_stack(db, StackRow(ran.deployment, target, ran.release, ran.outputs, at))
            if state.outcome:
                db.execute(sa.delete(LEASES).where(LEASES.c.owner == state.rollout))
        return True

    def forget_target(self, target: str, why: str, at: float) -> tuple[str, ...]:
        """Forget what runs on a state backend that is emptied, in one transaction; `at` is epoch seconds.

        Its stacks go. Its unfinished rollouts end as failed, and their leases, waiting commands and aborts go; returns
        their names. The journal says of each stack and rollout why.
        """
        with self._transaction() as db:
            stacks = db.execute(sa.select(STACKS).where(STACKS.c.target == target).order_by(STACKS.c.stack))
            for stack in stacks.all():
                note = Note(
                    kind="forgotten", text=f"ran release {stack.release[:12]}: {why}", subject=stack.stack
                )
                self._append(db, f"forgotten/{target}/{stack.stack}/{at!r}", at, "", note)
            db.execute(sa.delete(STACKS).where(STACKS.c.target == target))
            alive = sa.select(ROLLOUTS).where(ROLLOUTS.c.target == target, sa.not_(ROLLOUTS.c.ended))
            rollouts = [_rollout(row) for row in db.execute(alive.order_by(ROLLOUTS.c.created)).all()]
            for row in rollouts:
                over = cut_off(row.state, why, at)
                update = sa.update(ROLLOUTS).where(ROLLOUTS.c.id == row.id)
                db.execute(update.values(state=over.model_dump_json(), ended=True))
                db.execute(sa.delete(LEASES).where(LEASES.c.owner == row.id))
                waiting = (COMMANDS.c.rollout == row.id, sa.not_(COMMANDS.c.delivered))
                db.execute(sa.delete(COMMANDS).where(*waiting))
                own = ABORTS.c.attempt.startswith(f"{row.id}:", autoescape=True)
                db.execute(sa.delete(ABORTS).where(own))
                self._append(db, f"{row.id}/forgotten", at, row.id, Note(kind="failed", text=why))
        return tuple(row.id for row in rollouts)

    def targets(self) -> dict[str, str]:
        """The state backends of which anything is recorded, and what that is, in words."""
        with self.engine.connect() as db:
            found: dict[str, list[str]] = {}
            for table, what in ((ROLLOUTS, "rollouts"), (STACKS, "stacks")):
                query = sa.select(table.c.target, sa.func.count().label("n")).group_by(table.c.target)
                for row in db.execute(query):
                    found.setdefault(row.target, []).append(f"{row.n} {what if row.n > 1 else what[:-1]}")
        return {target: " and ".join(parts) for target, parts in sorted(found.items())}

    def note(self, key: str, note: Note, rollout: str = "") -> None:
        """Append a journal line of something done outside a rollout; the same `key` is written once."""
        with self._transaction() as db:
            self._append(db, key, time.time(), rollout, note)

    def journal(self, rollout: str | None = None, after: int = 0) -> list[Entry]:
        """Journal lines in order: all, or one rollout's; those after a sequence number."""
        query = sa.select(JOURNAL).where(JOURNAL.c.seq > after).order_by(JOURNAL.c.seq)
        if rollout is not None:
            query = query.where(JOURNAL.c.rollout == rollout)
        with self.engine.connect() as db:
            return [_entry(row) for row in db.execute(query)]

    def lease(self, cells: Sequence[str], owner: str) -> None:
        """Take the cells for an owner, all or none; Leased when another has one."""
        with self._transaction() as db:
            self._lease(db, cells, owner)

    def end_lease(self, owner: str) -> None:
        """Give back every cell of an owner."""
        with self._transaction() as db:
            db.execute(sa.delete(LEASES).where(LEASES.c.owner == owner))

    def leases(self) -> dict[str, str]:
        """Owner by cell."""
        with self.engine.connect() as db:
            return {row.cell: row.owner for row in db.execute(sa.select(LEASES))}

    def lease_of(self, cell: str) -> tuple[str, float] | None:
        """The owner of a cell, and since when (epoch seconds); None when nobody has it, or a process that has ended."""
        with self.engine.connect() as db:
            row = db.execute(sa.select(LEASES).where(LEASES.c.cell == cell)).first()
            return (row.owner, row.since) if row and not _is_dead(row.owner) else None

    def stacks(self, target: str) -> dict[str, StackRow]:
        """What each stack of a state backend runs, by stack."""
        with self.engine.connect() as db:
            rows = db.execute(sa.select(STACKS).where(STACKS.c.target == target))
            return {
                row.stack: StackRow(**{**row._mapping, "outputs": json.loads(row.outputs)}) for row in rows
            }

    def set_stack(self, row: StackRow) -> None:
        """Record what a stack runs now."""
        with self._transaction() as db:
            self._set_stack(db, row)

    def forget_stack(self, stack: str, target: str) -> None:
        """Record that a stack runs nothing any more."""
        with self._transaction() as db:
            self._forget_stack(db, stack, target)

    def set_progress(self, stack: str, text: str, done: int) -> None:
        """What a running engine is doing, for people who watch."""
        with self._transaction() as db:
            db.execute(sa.delete(PROGRESS).where(PROGRESS.c.stack == stack))
            db.execute(sa.insert(PROGRESS).values(stack=stack, text=storable(text), done=done))

    def progress(self) -> dict[str, tuple[str, int]]:
        """What each engine last did, and how many resources it is done with, by stack."""
        with self.engine.connect() as db:
            return {row.stack: (row.text, row.done) for row in db.execute(sa.select(PROGRESS))}

    def command(self, identity: str, rollout: str, event: Commanded) -> None:
        """Leave a person's command for the worker; the same `identity` is taken once."""
        with self._transaction() as db:
            if not db.execute(sa.select(COMMANDS).where(COMMANDS.c.id == identity)).first():
                row = {
                    "id": identity,
                    "rollout": rollout,
                    "event": event.model_dump_json(),
                    "delivered": False,
                }
                db.execute(sa.insert(COMMANDS).values(row))

    def undelivered(self) -> list[tuple[str, str, str]]:
        """Commands that no worker has passed on yet: identity, rollout, event as JSON."""
        with self.engine.connect() as db:
            rows = db.execute(sa.select(COMMANDS).where(sa.not_(COMMANDS.c.delivered)))
            return [(row.id, row.rollout, row.event) for row in rows]

    def delivered(self, identity: str) -> None:
        """A command has reached its rollout's inbox."""
        with self._transaction() as db:
            db.execute(sa.update(COMMANDS).where(COMMANDS.c.id == identity).values(delivered=True))

    def ask_abort(self, attempt: str) -> None:
        """Ask a running attempt to stop."""
        with self._transaction() as db:
            if not db.execute(sa.select(ABORTS).where(ABORTS.c.attempt == attempt)).first():
                db.execute(sa.insert(ABORTS).values(attempt=attempt))

    def abort_asked(self, attempt: str) -> bool:
        """Whether an attempt was asked to stop, or its rollout is over: then nobody wants what it would bring."""
        over = sa.select(ROLLOUTS.c.id).where(ROLLOUTS.c.id == attempt.partition(":")[0], ROLLOUTS.c.ended)
        asked = sa.select(ABORTS.c.attempt).where(ABORTS.c.attempt == attempt)
        with self.engine.connect() as db:
            return db.execute(sa.union_all(asked, over)).first() is not None

    def over(self, keep: int) -> set[str]:
        """The names of the rollouts that have ended, without the newest `keep` of them."""
        with self.engine.connect() as db:
            query = sa.select(ROLLOUTS.c.id).where(ROLLOUTS.c.ended).order_by(ROLLOUTS.c.created.desc())
            return set(list(db.execute(query).scalars())[keep:])

    def sweep(self, over: Collection[str]) -> int:
        """Delete commands and aborts of these ended rollouts, and the progress of stacks that no rollout changes; how
        many rows."""
        with self._transaction() as db:
            unfinished = db.execute(sa.select(ROLLOUTS.c.state).where(sa.not_(ROLLOUTS.c.ended))).scalars()
            states = (State.model_validate_json(text) for text in unfinished)
            busy = {step.deployment for state in states for step in state.forward.plan.steps}

            def delete(table: sa.Table, column: sa.Column[str], is_dead: Callable[[str], bool]) -> int:
                dead = [value for value in set(db.execute(sa.select(column)).scalars()) if is_dead(value)]
                return sum(db.execute(sa.delete(table).where(column == value)).rowcount for value in dead)

            return (
                delete(COMMANDS, COMMANDS.c.rollout, lambda rollout: rollout in over)
                + delete(ABORTS, ABORTS.c.attempt, lambda attempt: attempt.split(":")[0] in over)
                + delete(PROGRESS, PROGRESS.c.stack, lambda stack: stack not in busy)
            )

    def compact(self) -> None:
        """Give what was deleted back to the disk, unless somebody is at work. (PostgreSQL does that by itself.)"""
        if self.engine.dialect.name == "sqlite":
            with suppress(sa.exc.OperationalError), self.engine.connect() as db:
                db.exec_driver_sql("VACUUM")
                db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _lease(self, db: sa.Connection, cells: Sequence[str], owner: str) -> None:
        held = {row.cell: row.owner for row in db.execute(sa.select(LEASES).where(LEASES.c.cell.in_(cells)))}
        refuse_taken({cell: other for cell, other in held.items() if other != owner}, cells)
        mine = [cell for cell in cells if held.get(cell) != owner]
        db.execute(sa.delete(LEASES).where(LEASES.c.cell.in_(mine)))  # those of the dead
        for cell in mine:
            db.execute(sa.insert(LEASES).values(cell=cell, owner=owner, since=time.time()))

    def _forget_stack(self, db: sa.Connection, stack: str, target: str) -> None:
        db.execute(sa.delete(STACKS).where(STACKS.c.stack == stack, STACKS.c.target == target))

    def _set_stack(self, db: sa.Connection, row: StackRow) -> None:
        self._forget_stack(db, row.stack, row.target)
        db.execute(sa.insert(STACKS).values({**asdict(row), "outputs": json.dumps(row.outputs)}))

    def _append(self, db: sa.Connection, key: str, at: float, rollout: str, note: Note) -> None:
        if db.execute(sa.select(JOURNAL.c.seq).where(JOURNAL.c.key == key)).first():
            return
        last = db.execute(sa.select(JOURNAL).order_by(JOURNAL.c.seq.desc()).limit(1)).first()
        entry = seal(_entry(last) if last else None, at=at, rollout=rollout, **note.model_dump())
        db.execute(sa.insert(JOURNAL).values(key=key, **entry.model_dump()))


def refuse_taken(leases: Mapping[str, str], cells: Iterable[str]) -> None:
    """Leased when one of the cells has an owner (`leases`: owner by cell) that is not a process that has ended."""
    taken = {cell: leases[cell] for cell in cells if cell in leases and not _is_dead(leases[cell])}
    if taken:
        names = ", ".join(f"{cell} by {owner}" for cell, owner in taken.items())
        raise Leased(f"cells are leased to another: {names}", hint="wait for its end, or roll it back")


def commands_at_work(leases: Mapping[str, str]) -> dict[str, str]:
    """The cells that a command line (`up`, `down`) is changing at this moment, and which; `leases` as in Records."""
    return {cell: owner for cell, owner in leases.items() if owner.startswith(UP) and not _is_dead(owner)}


def process_owner(actor: str) -> str:
    """A lease's owner that is this process: the lease is void once the process is gone, however it ended."""
    return f"{UP}{actor}:{socket.gethostname()}:{this(os.getpid()).text}"


def _is_dead(owner: str) -> bool:
    if not owner.startswith(UP):
        return False
    *_, host, pid, start = owner.split(":")
    # Of another host's processes nothing is known from here.
    return host == socket.gethostname() and not alive(written(f"{pid}:{start}"))


def _rollout(row: sa.Row[Any]) -> RolloutRow:
    fields = {name: getattr(row, name) for name in ("id", "created", "actor", "target")}
    return RolloutRow(**fields, state=State.model_validate_json(row.state))


def _entry(row: sa.Row[Any]) -> Entry:
    return Entry.model_validate({name: getattr(row, name) for name in Entry.model_fields})
