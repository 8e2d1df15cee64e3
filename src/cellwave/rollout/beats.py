"""Which workers live, and which commands that change cells themselves: each has a row, and renews it every few seconds;
whose row stays as it is has died, hangs or is cut off from the database.

No clock of another machine is believed in that: whoever judges has seen the row unchanged for the whole of a lease, by
ticks since its own boot. The one that is judged ends its own engines well before that, by its own (deploy/fence.py).
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from cellwave.deploy.fence import since_boot, write_deadline
from cellwave.environment import host_name
from cellwave.errors import Unavailable
from cellwave.frozen import Frozen, digest_of
from cellwave.processes import this
from cellwave.rollout.leases import UP, process_owner, take_lease
from cellwave.rollout.records import Records
from cellwave.rollout.rows import upsert
from cellwave.rollout.tables import GONE, LEASES, META, OUTBOX, WORKERS
from cellwave.target import FILE

LEFT = "left:"  # how META's key begins that says when a state backend's last worker left
REMEMBERED_SECONDS = 86_400.0
WORKS = sa.not_(WORKERS.c.id.startswith(UP))  # a worker's row, and no command's
log = structlog.get_logger()


class Pace(Frozen):
    """In seconds: how often a row is renewed; how long after the start of the last renewal that was kept its worker's
    engines end (they take `fence.KILL_AFTER` more at most); after how long it is taken for dead by others."""

    beat: float = 5.0
    fence: float = 15.0
    lease: float = 30.0


PACE = Pace()


@dataclass(frozen=True)
class Worker:
    """A worker's life. Its `seat` is a host, a home and a state backend: there is one worker at a time on it, so the
    next one knows the one before to be dead. `id` is unique for ever.

    A command that changes cells lives like one, on a seat of its own; its `id` is the owner of its leases."""

    id: str
    seat: str
    target: str


def new_worker(home: Path, target: str) -> Worker:
    """The worker that this process is."""
    seat = seat_of(home, target)
    return Worker(id=f"{seat}:{this(os.getpid()).text}", seat=seat, target=target)


def new_command(actor: str, target: str) -> Worker:
    """The command that this process is, at an actor's word."""
    owner = process_owner(actor)
    return Worker(id=owner, seat=owner, target=target)


def seat_of(home: Path, target: str) -> str:
    """The place of a worker: this host, a home and a state backend."""
    return f"{host_name()}:{digest_of([target, str(home)])[:12]}"


def enter(records: Records, me: Worker, cells: Sequence[str] = ()) -> None:
    """Write this worker's row, lease these cells to it, and take over what the one before on its seat had begun.

    Unavailable when the state backend is a folder, and another host's worker calls its own folder the same. Leased when
    another has one of the cells.
    """
    if me.target.startswith(FILE):
        hosts = {name.partition(":")[0] for name in living(records, me.target)} - {host_name()}
        if hosts:
            raise Unavailable(
                f"{me.target} is a folder of this host, and {', '.join(sorted(hosts))} works on its own of that name",
                hint="hosts that share a database share the state backend too, such as s3://…",
            )
    with records.transaction() as db:
        on_seat = WORKERS.c.id.startswith(f"{me.seat}:", autoescape=True)
        before = db.execute(sa.select(WORKERS.c.id).where(on_seat)).scalars().all()
        own = sa.update(OUTBOX).where(OUTBOX.c.owner.in_(before), OUTBOX.c.done.is_(None))
        db.execute(own.values(owner=me.id))
        old = sa.and_(WORKERS.c.pid == GONE, WORKERS.c.beat < _now(db) - REMEMBERED_SECONDS)
        followed = sa.and_(WORKERS.c.id.in_(before), WORKERS.c.pid != GONE)
        db.execute(sa.delete(WORKERS).where(sa.or_(followed, old)))
        now = db.execute(sa.select(_now(db))).scalar_one()
        # The engine knows its host by no other name, and writes it into its locks.
        row = {"id": me.id, "target": me.target, "host": socket.gethostname(), "pid": os.getpid()}
        db.execute(sa.insert(WORKERS).values(**row, since=now, beat=now))
        take_lease(db, cells, me.id)


def leave(records: Records, me: Worker) -> None:
    """Take this worker's row away; while an engine of it still runs the row stays, and what is under way is the next
    worker's of the seat, or, when the lease has run out, anybody's."""
    with records.transaction() as db:
        owned = sa.select(OUTBOX.c.key).where(OUTBOX.c.owner == me.id, OUTBOX.c.done.is_(None))
        if db.execute(owned.limit(1)).first() is None:
            db.execute(sa.delete(WORKERS).where(WORKERS.c.id == me.id, WORKERS.c.pid != GONE))
            now = db.execute(sa.select(_now(db))).scalar_one()
            upsert(db, META, [{"key": LEFT + me.target, "value": str(float(now))}])


def renew(records: Records, me: Worker) -> bool:
    """Say that this worker lives; False when it was taken for dead."""
    with records.transaction() as db:
        mine = sa.update(WORKERS).where(WORKERS.c.id == me.id, WORKERS.c.pid != GONE)
        return db.execute(mine.values(beat=_now(db))).rowcount == 1


def beats(records: Records, target: str) -> dict[str, float]:
    """A state backend's workers, and all commands, that nobody has taken for dead, and each one's last beat."""
    with records.reader.connect() as db:
        # A lease of a cell binds every state backend.
        query = sa.select(WORKERS.c.id, WORKERS.c.beat).where(
            sa.or_(WORKERS.c.target == target, sa.not_(WORKS))
        )
        found = db.execute(query.where(WORKERS.c.pid != GONE))
        return {row.id: row.beat for row in found}


def take_for_dead(records: Records, silent: dict[str, float]) -> list[str]:
    """Shut these workers out from whatever they may still want, unless they have renewed what was their last `beat`;
    those that are. The cells of a command among them are free."""
    with records.transaction() as db:
        dead = [
            name
            for name, beat in silent.items()
            if db.execute(
                sa.update(WORKERS)
                .where(WORKERS.c.id == name, WORKERS.c.beat == beat, WORKERS.c.pid != GONE)
                .values(pid=GONE)
            ).rowcount
        ]
        db.execute(sa.delete(LEASES).where(LEASES.c.owner.in_(dead)))
        return dead


def dead_hosts(records: Records, target: str, pace: Pace = PACE) -> dict[str, float]:
    """The hosts of which a worker was taken for dead, and until when (epoch seconds) an engine of its can have run."""
    query = sa.select(WORKERS.c.host, sa.func.max(WORKERS.c.beat).label("beat")).group_by(WORKERS.c.host)
    with records.reader.connect() as db:
        found = db.execute(query.where(WORKERS.c.target == target, WORKERS.c.pid == GONE))
        return {row.host: row.beat + pace.lease for row in found}


def living(records: Records, target: str, pace: Pace = PACE) -> Sequence[str]:
    """A state backend's workers that live, as far as one look tells."""
    with records.reader.connect() as db:
        fresh = WORKERS.c.beat > _now(db) - pace.lease
        query = sa.select(WORKERS.c.id).where(WORKERS.c.target == target, WORKERS.c.pid != GONE, fresh, WORKS)
        return db.execute(query).scalars().all()


def unattended_since(records: Records, target: str) -> float | None:
    """When the last worker of a state backend was last heard of (epoch seconds); None when none ever was."""
    with records.reader.connect() as db:
        query = sa.select(sa.func.max(WORKERS.c.beat)).where(WORKERS.c.target == target, WORKS)
        beat = db.execute(query).scalar()
        left = db.execute(sa.select(META.c.value).where(META.c.key == LEFT + target)).scalar()
    known = [float(at) for at in (beat, left) if at is not None]
    return max(known, default=None)


def _now(db: sa.Connection) -> sa.ColumnElement[float]:
    """The database's clock, in seconds since the epoch."""
    if db.dialect.name == "sqlite":
        return (sa.func.julianday("now") - 2_440_587.5) * 86_400.0
    return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)


@dataclass
class Beating:
    """A worker's own thread: it renews the row, moves the deadline of engines on, and looks how the others do.

    `cells` are leased to it with its row: a command's."""

    records: Records
    me: Worker
    wake: Callable[[], None]
    deadline: Path | None = None
    pace: Pace = PACE
    cells: Sequence[str] = ()
    _seen: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lost: bool = False
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def start(self) -> None:
        """Enter, and go on as a thread until the process ends or the worker is taken for dead. Raises as `enter`."""
        enter(self.records, self.me, self.cells)
        self._beat()
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Beat no more: who leaves is not to take itself for dead."""
        self._over.set()
        self._thread.join(self.pace.beat)

    @property
    def lost(self) -> bool:
        """Whether this worker was taken for dead: it may begin nothing more."""
        return self._lost

    def silent(self) -> dict[str, float]:
        """The workers that have not renewed their rows for a whole lease, and their last beats."""
        now = since_boot()
        return {
            name: beat
            for name, (beat, since) in list(self._seen.items())
            if now - since > self.pace.lease and name != self.me.id
        }

    @property
    def hears_commands(self) -> bool:
        """Whether there is a command that was not taken for dead: its cells are nobody's when it is."""
        return any(name.startswith(UP) for name in list(self._seen))

    def _run(self) -> None:
        while not self._lost and not self._over.wait(self.pace.beat):
            try:
                self._beat()
            except (OSError, SQLAlchemyError):
                # Where nobody can write, nobody's silence tells anything.
                self._seen.clear()
                log.exception("the worker's beat could not be kept")
        self.wake()

    def _beat(self) -> None:
        begun = since_boot()
        if not renew(self.records, self.me):
            log.warning("this worker was taken for dead by another, and leaves")
            self._lost = True
            return
        if self.deadline is not None:
            write_deadline(self.deadline, begun + self.pace.fence)
        self._look(beats(self.records, self.me.target), since_boot())

    def _look(self, found: dict[str, float], now: float) -> None:
        known = self._seen
        self._seen = {
            name: known[name] if name in known and known[name][0] == beat else (beat, now)
            for name, beat in found.items()
        }


@contextmanager
def holding(
    records: Records, cells: Sequence[str], me: Worker, deadline: Path | None, pace: Pace = PACE
) -> Iterator[None]:
    """Have cells as the command that this process is; Leased when another has one. Others may take them when it is not
    heard of for a lease, and its engines end before that by the file `deadline`.

    Without one only processes of this host share the database: they see whether this one has ended.
    """
    if deadline is None:
        records.lease(cells, me.id)
        try:
            yield
        finally:
            records.end_lease(me.id)
        return
    beating = Beating(records, me, lambda: None, deadline, pace, cells)
    beating.start()
    try:
        yield
    finally:
        beating.stop()
        # Where the database is away, others free the cells when this one has not been heard of for a lease.
        with suppress(SQLAlchemyError), records.transaction() as db:
            # In the order of `take_for_dead`: of two that lock, neither waits for the other.
            db.execute(sa.delete(WORKERS).where(WORKERS.c.id == me.id, WORKERS.c.pid != GONE))
            db.execute(sa.delete(LEASES).where(LEASES.c.owner == me.id))
        deadline.unlink(missing_ok=True)
