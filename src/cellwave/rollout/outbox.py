"""What turns have asked for, until its end is told: whose it is, and who may tell. Functions of an open transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence

import sqlalchemy as sa

from cellwave.frozen import Frozen
from cellwave.rollout.model import Deploy, Effect, Event, Head
from cellwave.rollout.rows import EFFECTS, tell
from cellwave.rollout.tables import GONE, OUTBOX, ROLLOUTS, WORKERS


class Asked(Frozen):
    """An effect that a turn asked for at `at` (epoch seconds), and whose end was not told yet. `round` counts how often
    a queue was given it in vain; `undo_since` is since when a way back may delete what was made (epoch seconds), and
    `owner` the worker that has begun it last."""

    key: str
    rollout: str
    effect: Effect
    at: float
    round: int
    undo_since: float
    owner: str | None = None

    @property
    def workflow(self) -> str:
        """The name of the workflow that performs it; each time that it is placed again has its own."""
        return f"{self.key}#{self.round}" if self.round else self.key

    def waits(self, now: float) -> bool:
        """Whether it is not to begin yet; a clock that went back lets it begin."""
        return isinstance(self.effect, Deploy) and 0 <= now - self.at < self.effect.delay


def begin_all(db: sa.Connection, wanted: Sequence[tuple[str, str]]) -> list[Asked | None]:
    """Give effects, by their keys, to the workers that are to perform them; see `Records.begin`."""
    mine: dict[tuple[str, str], Asked] = {}
    for worker in dict.fromkeys(worker for _, worker in wanted):
        # Locked, so that nobody takes it for dead in between.
        if db.execute(_living(worker).with_for_update(read=True)).first() is None:
            continue
        others = sa.select(WORKERS.c.id).where(WORKERS.c.pid != GONE)
        free = sa.or_(OUTBOX.c.owner.is_(None), OUTBOX.c.owner == worker, OUTBOX.c.owner.not_in(others))
        keys = [key for key, whose in wanted if whose == worker]
        own = sa.update(OUTBOX).where(OUTBOX.c.key.in_(keys), OUTBOX.c.done.is_(None), free)
        owned = db.execute(own.values(owner=worker).returning(OUTBOX.c.key)).scalars().all()
        mine |= {(asked.key, worker): asked for asked in unfinished(db, OUTBOX.c.key.in_(owned))}
    return [mine.get(one) for one in wanted]


def end_all(db: sa.Connection, ended: Sequence[tuple[Asked, Event | None, str]]) -> list[None]:
    """Tell rollouts of the ends of effects; see `Records.finish`."""
    now = time.time()
    for worker in dict.fromkeys(worker for *_, worker in ended):
        events = {asked.key: (asked.rollout, event) for asked, event, whose in ended if whose == worker}
        mine = (OUTBOX.c.key.in_(list(events)), OUTBOX.c.owner.in_(_living(worker)), OUTBOX.c.done.is_(None))
        done = db.execute(sa.update(OUTBOX).where(*mine).values(done=now).returning(OUTBOX.c.key))
        mine_still = set(done.scalars())
        told = [(key, rollout, event) for key, (rollout, event) in events.items() if key in mine_still]
        tell(db, [(key, rollout, event) for key, rollout, event in told if event])
    return [None] * len(ended)


def _living(worker: str) -> sa.Select[tuple[str]]:
    return sa.select(WORKERS.c.id).where(WORKERS.c.pid != GONE, WORKERS.c.id == worker)


def unfinished(db: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Asked]:
    """What was asked for, that is so, and has not ended; the oldest first."""
    query = sa.select(OUTBOX, ROLLOUTS.c.head).join(ROLLOUTS, ROLLOUTS.c.id == OUTBOX.c.rollout)
    found = db.execute(query.where(OUTBOX.c.done.is_(None), *where).order_by(OUTBOX.c.asked)).all()
    undo_since = {head: Head.model_validate_json(head).undo_since for head in {row.head for row in found}}
    return [
        Asked(
            key=row.key,
            rollout=row.rollout,
            effect=EFFECTS.validate_json(row.effect),
            at=row.asked,
            round=row.round,
            undo_since=undo_since[row.head],
            owner=row.owner,
        )
        for row in found
    ]
