"""What outlives every process: rollouts, leases, what each stack runs, and the journal. SQLite or PostgreSQL.

Every method is one transaction. Writers are workers and any number of command lines.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from cellwave.errors import Leased
from cellwave.health.model import GateResult
from cellwave.rollout import outbox, rows
from cellwave.rollout.database import database_files, open_engine, reading, unreachable
from cellwave.rollout.journal import Entry
from cellwave.rollout.keys import BACK, FORWARD, unique_name
from cellwave.rollout.leases import is_dead, take_lease
from cellwave.rollout.model import (
    Answer,
    Commanded,
    Event,
    Note,
    Started,
    State,
)
from cellwave.rollout.outbox import Asked
from cellwave.rollout.rows import Memory, RolloutRow
from cellwave.rollout.schema import bring_up_to_date
from cellwave.rollout.tables import (
    ABORTS,
    INBOX,
    JOURNAL,
    LEASES,
    META,
    OUTBOX,
    PROGRESS,
    ROLLOUTS,
    STACKS,
)
from cellwave.rollout.together import Together
from cellwave.text import storable

KEPT = 20  # ended rollouts, and attempts of `down` a stack, the newest, of which all is kept unless one says


@dataclass(frozen=True)
class StackRow:
    """What a stack runs: the digest of the release that was last proven there (None: none was), its outputs, and since
    when (epoch seconds). `known` is false while, and after, something was tried there that no proof ended. `inputs` is
    the digest of what it was made of ("": nobody knows)."""

    stack: str
    target: str
    release: str | None
    outputs: dict[str, str]
    at: float
    known: bool = True
    inputs: str = ""


def recorded(url: str) -> Records | None:
    """The database as far as there is one: None where only making the file would find it."""
    files = database_files(url)
    return Records(url) if not files or files[0].exists() else None


class Records:
    """The database of that URL; BadInput or Unavailable as `open_engine`."""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self.reader = reading(self.engine)
        self._together = Together(self.transaction)
        try:
            bring_up_to_date(self.engine)
        except sa.exc.DBAPIError as error:
            self.engine.dispose()
            raise unreachable(self.engine.url, error) from error

    @contextmanager
    def transaction(self, *, lasting: bool = True) -> Iterator[sa.Connection]:
        """What is written in it is kept whole or not at all, and outlasts a power cut, unless it need not be `lasting`.
        On SQLite there is one at a time."""
        with self.engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if lasting else 'NORMAL'}")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """All that is read in it is of one moment."""
        with self.engine.connect() as db:
            if db.dialect.name == "sqlite":
                db.exec_driver_sql("BEGIN")
            else:
                db.execution_options(isolation_level="REPEATABLE READ")
            yield db

    def create_rollout(self, state: State, actor: str, target: str, at: float) -> RolloutRow:
        """Record a new rollout, begun at `at` (epoch seconds), and lease its cells, or neither; Leased names the owner
        of a cell, or of a failover partner, that is taken."""
        plan = state.forward.plan
        row = RolloutRow(
            id=state.head.rollout,
            key=secrets.token_hex(4),
            created=at,
            actor=actor,
            target=target,
            release=plan.release,
            version=plan.version,
            head=state.head,
        )
        with self.transaction() as db:
            if db.execute(sa.select(ROLLOUTS.c.id).where(ROLLOUTS.c.id == row.id)).first():
                raise Leased(f"{row.id} was started by another command just now")
            take_lease(db, plan.cells, row.id, plan.partners)
            rows.insert_rollout(db, row, state, Started(at=at, actor=actor))
        return row

    def next_id(self, version: str) -> str:
        """A rollout name that is not taken: `<version>-<n>`."""
        with self.reader.connect() as db:
            query = (
                sa.select(sa.func.count())
                .select_from(ROLLOUTS)
                .where(ROLLOUTS.c.id.startswith(f"{version}-", autoescape=True))
            )
            return f"{version}-{(db.execute(query).scalar() or 0) + 1}"

    def rollouts(self) -> list[RolloutRow]:
        """All rollouts, the newest first."""
        with self.reader.connect() as db:
            query = sa.select(ROLLOUTS).order_by(ROLLOUTS.c.created.desc())
            return [rows.rollout_of(row) for row in db.execute(query)]

    def unfinished(self, target: str) -> dict[str, str]:
        """A state backend's rollouts that have not ended: their names, and what their attempts' names begin with."""
        query = sa.select(ROLLOUTS.c.id, ROLLOUTS.c.key).where(ROLLOUTS.c.target == target)
        query = query.where(sa.not_(ROLLOUTS.c.ended))
        with self.reader.connect() as db:
            return {row.id: unique_name(row.id, row.key) for row in db.execute(query)}

    def is_busy(self) -> bool:
        """Whether any state backend has a rollout that has not ended."""
        query = sa.select(ROLLOUTS.c.id).where(sa.not_(ROLLOUTS.c.ended)).limit(1)
        with self.reader.connect() as db:
            return db.execute(query).first() is not None

    def rollout(self, name: str) -> RolloutRow | None:
        """One rollout; None when there is none of that name."""
        with self.reader.connect() as db:
            row = db.execute(sa.select(ROLLOUTS).where(ROLLOUTS.c.id == name)).first()
            return rows.rollout_of(row) if row else None

    def state(self, name: str, memory: Memory | None = None) -> State:
        """All that a rollout knows; LookupError when there is none of that name. Who looks again and again brings a
        memory: then a turn is read once."""
        memory = memory or Memory()
        # Its tracks must not be of a later turn than its head.
        with self.snapshot() as db:
            state = memory.states[name] = rows.load(db, rows.require(db, name), memory)
        return state

    def readings(self, name: str) -> tuple[GateResult, ...]:
        """A rollout's gates as last read."""
        with self.reader.connect() as db:
            return rows.read_readings(db, name)

    def trouble(self, name: str, why: str) -> None:
        """A rollout's next turn can't be taken, and why."""
        why = storable(why)
        with self.transaction() as db:
            mine = (ROLLOUTS.c.id == name, ROLLOUTS.c.trouble != why)
            db.execute(sa.update(ROLLOUTS).where(*mine).values(trouble=why))

    def unplaced(self, target: str) -> list[Asked]:
        """What turns have asked for and no queue has been given."""
        with self.reader.connect() as db:
            return outbox.unfinished(db, OUTBOX.c.target == target, sa.not_(OUTBOX.c.placed))

    def unfinished_effects(self, target: str) -> list[Asked]:
        """What was given to a queue, and whose end was not told yet."""
        with self.reader.connect() as db:
            return outbox.unfinished(db, OUTBOX.c.target == target, OUTBOX.c.placed)

    def begin(self, key: str, worker: str) -> Asked | None:
        """What was asked for under a key, and is this worker's to perform from now on; None when that is nothing, or
        done, or a living worker's, or when this one was taken for dead."""
        return self._together.write(outbox.begin_all, (key, worker))

    def placed(self, found: Sequence[Asked], hand_over: Callable[[sa.Connection, Asked], object]) -> None:
        """Hand effects over, all in one transaction or none, but for those that another host is handing over, or has:
        to wait for it would be to wait for each other."""
        with self.transaction() as db:
            mine = OUTBOX.c.key.in_([asked.key for asked in found])
            free = sa.select(OUTBOX.c.key).where(mine, sa.not_(OUTBOX.c.placed))
            keys = set(db.execute(free.with_for_update(skip_locked=True)).scalars())
            for asked in found:
                if asked.key in keys:
                    hand_over(db, asked)
            if keys:
                db.execute(sa.update(OUTBOX).where(OUTBOX.c.key.in_(keys)).values(placed=True))

    def placed_again(self, asked: Asked) -> bool:
        """A queue was given the effect in vain: another workflow, the next one, is to perform it; False when it has
        ended, or another host was faster."""
        with self.transaction() as db:
            same = (OUTBOX.c.key == asked.key, OUTBOX.c.round == asked.round, OUTBOX.c.done.is_(None))
            return db.execute(sa.update(OUTBOX).where(*same).values(round=asked.round + 1)).rowcount == 1

    def finish(self, asked: Asked, event: Event | None, worker: str) -> None:
        """An effect has ended; its rollout is told of it, once, and only by the living worker whose it is."""
        self._together.write(outbox.end_all, (asked, event, worker))

    def newest_attempt(self, stack: str) -> tuple[str, float] | None:
        """The host that made a rollout's newest attempt at a stack, and when it was asked for (epoch seconds)."""
        ways = (OUTBOX.c.key.contains(f":{stack}:{way}:", autoescape=True) for way in (FORWARD, BACK))
        query = sa.select(OUTBOX.c.owner, OUTBOX.c.asked).where(sa.or_(*ways), OUTBOX.c.owner.is_not(None))
        query = query.where(sa.not_(OUTBOX.c.key.endswith(":prove"))).order_by(OUTBOX.c.asked.desc())
        with self.reader.connect() as db:
            row = db.execute(query.limit(1)).first()
        return (row.owner.partition(":")[0], row.asked) if row else None

    def targets(self) -> dict[str, str]:
        """The state backends of which anything is recorded, and what that is, in words."""
        with self.reader.connect() as db:
            found: dict[str, list[str]] = {}
            for table, what in ((ROLLOUTS, "rollouts"), (STACKS, "stacks")):
                query = sa.select(table.c.target, sa.func.count().label("n")).group_by(table.c.target)
                for row in db.execute(query):
                    found.setdefault(row.target, []).append(f"{row.n} {what if row.n > 1 else what[:-1]}")
        return {target: " and ".join(parts) for target, parts in sorted(found.items())}

    def note(self, key: str, note: Note, rollout: str = "") -> None:
        """Append a journal line of something done outside of a turn; the same `key` is written once."""
        with self.transaction() as db:
            rows.append(db, key, time.time(), rollout, note)

    def journal(self, rollout: str | None = None, after: int = 0) -> list[Entry]:
        """Journal lines in order: all, or one rollout's; those after a sequence number."""
        query = sa.select(JOURNAL).where(JOURNAL.c.seq > after).order_by(JOURNAL.c.seq)
        if rollout is not None:
            query = query.where(JOURNAL.c.rollout == rollout)
        with self.reader.connect() as db:
            return [rows.entry_of(row) for row in db.execute(query)]

    def identity(self) -> str:
        """The database's own, made with it; "" when it is none of cellwave's (any more)."""
        try:
            with self.reader.connect() as db:
                return db.execute(sa.select(META.c.value).where(META.c.key == "id")).scalar() or ""
        except sa.exc.DBAPIError:
            # To ask first whether there is such a table costs more than to read it.
            if sa.inspect(self.engine).has_table(META.name):
                raise
            return ""

    def head(self) -> tuple[int, str]:
        """Number and hash of the journal's last line; (0, "") when it has none."""
        query = sa.select(JOURNAL.c.seq, JOURNAL.c.hash).order_by(JOURNAL.c.seq.desc()).limit(1)
        with self.reader.connect() as db:
            row = db.execute(query).first()
        return (row.seq, row.hash) if row else (0, "")

    def hash_at(self, seq: int) -> str | None:
        """The hash of the journal's line of that number; None when there is none."""
        with self.reader.connect() as db:
            return db.execute(sa.select(JOURNAL.c.hash).where(JOURNAL.c.seq == seq)).scalar()

    def lease(self, cells: Sequence[str], owner: str) -> None:
        """Take the cells for an owner, all or none; Leased when another has one."""
        with self.transaction() as db:
            take_lease(db, cells, owner)

    def end_lease(self, owner: str) -> None:
        """Give back every cell of an owner."""
        with self.transaction() as db:
            db.execute(sa.delete(LEASES).where(LEASES.c.owner == owner))

    def leases(self) -> dict[str, str]:
        """Owner by cell."""
        with self.reader.connect() as db:
            return {row.cell: row.owner for row in db.execute(sa.select(LEASES))}

    def lease_of(self, cell: str) -> tuple[str, float] | None:
        """The owner of a cell, and since when (epoch seconds); None when nobody has it, or a process that has ended."""
        with self.reader.connect() as db:
            row = db.execute(sa.select(LEASES).where(LEASES.c.cell == cell)).first()
            return (row.owner, row.since) if row and not is_dead(row.owner) else None

    def stacks(self, target: str) -> dict[str, StackRow]:
        """What each stack of a state backend runs, by stack."""
        with self.reader.connect() as db:
            found = db.execute(sa.select(STACKS).where(STACKS.c.target == target))
            return {
                row.stack: StackRow(
                    row.stack,
                    target,
                    row.release,
                    json.loads(row.outputs),
                    row.at,
                    row.known,
                    row.inputs or "",
                )
                for row in found
            }

    def set_stack(self, row: StackRow) -> None:
        """Record what a stack runs now."""
        with self.transaction() as db:
            rows.upsert(db, STACKS, [{**asdict(row), "outputs": json.dumps(row.outputs)}])

    def forget_stack(self, stack: str, target: str, owner: str) -> bool:
        """Record that a stack runs nothing any more, as long as its cell is this owner's; whether it is."""
        cell = stack.partition(".")[0]
        with self.transaction() as db:
            # Locked, so that nobody takes its owner for dead in between.
            held = sa.select(LEASES.c.cell).where(LEASES.c.cell == cell, LEASES.c.owner == owner)
            if db.execute(held.with_for_update()).first() is None:
                return False
            db.execute(sa.delete(STACKS).where(STACKS.c.stack == stack, STACKS.c.target == target))
        return True

    def set_progress(self, stack: str, text: str, done: int) -> None:
        """What a running engine is doing, for people who watch."""
        with self.transaction(lasting=False) as db:
            rows.upsert(db, PROGRESS, [{"stack": stack, "text": storable(text), "done": done}])

    def progress(self, stacks: Collection[str]) -> dict[str, tuple[str, int]]:
        """What the engines of these stacks last did, and how many resources they are done with, by stack."""
        query = sa.select(PROGRESS).where(PROGRESS.c.stack.in_(stacks))
        with self.reader.connect() as db:
            return {row.stack: (row.text, row.done) for row in db.execute(query)}

    def command(self, identity: str, rollout: str, event: Commanded) -> None:
        """Leave a person's command in a rollout's inbox; the same `identity` is taken once."""
        with self.transaction() as db:
            rows.tell(db, [(rows.COMMAND + identity, rollout, event)])

    def answer(self, identity: str) -> Answer | None:
        """What became of a command; None when it has not been taken yet. LookupError: there is none (any more)."""
        query = sa.select(INBOX.c.answer, INBOX.c.said).where(INBOX.c.key == rows.COMMAND + identity)
        with self.reader.connect() as db:
            row = db.execute(query).first()
        if row is None:
            raise LookupError(f"no command {identity} is recorded")
        return Answer(kind=row.answer, said=row.said) if row.answer else None

    def abort_asked(self, attempt: str, rollout: str) -> bool:
        """Whether an attempt was asked to stop, or its rollout is over: then nobody wants what it would bring."""
        over = sa.select(ROLLOUTS.c.id).where(ROLLOUTS.c.id == rollout, ROLLOUTS.c.ended)
        asked = sa.select(ABORTS.c.attempt).where(ABORTS.c.attempt == attempt)
        with self.reader.connect() as db:
            return db.execute(sa.union_all(asked, over)).first() is not None

    def over(self, keep: int) -> dict[str, str]:
        """The rollouts that have ended, without the newest `keep` of them: their names, and what their attempts' names
        begin with."""
        with self.reader.connect() as db:
            query = sa.select(ROLLOUTS.c.id, ROLLOUTS.c.key).where(ROLLOUTS.c.ended)
            found = db.execute(query.order_by(ROLLOUTS.c.created.desc())).all()
        return {row.id: unique_name(row.id, row.key) for row in found[keep:]}

    def compact(self) -> None:
        """Give what was deleted back to the disk, unless somebody is at work. (PostgreSQL does that by itself.)"""
        if self.engine.dialect.name == "sqlite":
            with suppress(sa.exc.OperationalError), self.engine.connect() as db:
                db.exec_driver_sql("VACUUM")
                db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
