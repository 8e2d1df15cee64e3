"""The tables of the database of rollouts; rows.py and records.py are what reads and writes them."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

# What is said of the database itself: `id` is its own, made once.
META = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
)
# A plan is stored once, under the SHA-256 of its canonical JSON.
PLANS = sa.Table(
    "plans",
    metadata,
    sa.Column("hash", sa.String, primary_key=True),
    sa.Column("plan", sa.Text, nullable=False),
)
# What is shown of a plan, by its hash: see outline.py. (Plans of earlier versions have none.)
OUTLINES = sa.Table(
    "outlines",
    metadata,
    sa.Column("plan", sa.String, primary_key=True),
    sa.Column("outline", sa.Text, nullable=False),
)
# `key` makes the name unique for ever, also when a database is lost and names begin anew. `head`, `forward` and `back`
# are the small values of a State as JSON; `due` is when a turn is wanted though nothing has happened; `trouble` is why
# the last turn could not be taken.
ROLLOUTS = sa.Table(
    "rollouts",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("release", sa.String, nullable=False),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("plan", sa.String, nullable=False),
    sa.Column("back_plan", sa.String),
    sa.Column("head", sa.Text, nullable=False),
    sa.Column("forward", sa.Text, nullable=False),
    sa.Column("back", sa.Text),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("due", sa.Float),
    sa.Column("ended", sa.Boolean, nullable=False),
    sa.Column("trouble", sa.Text, nullable=False),
)
# How far each deployment of a leg has come; those that nothing has happened to have no row.
TRACKS = sa.Table(
    "tracks",
    metadata,
    sa.Column("rollout", sa.String, primary_key=True),
    sa.Column("leg", sa.String, primary_key=True),
    sa.Column("deployment", sa.String, primary_key=True),
    sa.Column("phase", sa.String, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("changed", sa.Boolean, nullable=False),
    sa.Column("fault", sa.String),
    sa.Column("applied", sa.Text),
    sa.Column("foreseen", sa.Text),
)
# All that is shown of most tracks, and the few of which there is more to say.
sa.Index("phases", TRACKS.c.rollout, TRACKS.c.leg, TRACKS.c.phase, TRACKS.c.deployment)
REMARKABLE = sa.text("(fault IS NOT NULL OR attempt > 1)")  # as it stands: else the index is not taken
sa.Index("remarkable", TRACKS.c.rollout, TRACKS.c.leg, sqlite_where=REMARKABLE, postgresql_where=REMARKABLE)
# The gates as last read, a row a cell.
READINGS = sa.Table(
    "readings",
    metadata,
    sa.Column("rollout", sa.String, primary_key=True),
    sa.Column("cell", sa.String, primary_key=True),
    sa.Column("gates", sa.Text, nullable=False),
)
# What has happened, in order of arrival. `key` is unique: a thing told twice is taken once. `turn` took it (None: none
# has yet); `answer` and `said` are what became of a command.
INBOX = sa.Table(
    "inbox",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String, unique=True, nullable=False),
    sa.Column("rollout", sa.String, nullable=False, index=True),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("turn", sa.Integer),
    sa.Column("answer", sa.String),
    sa.Column("said", sa.Text),
)
sa.Index(
    "untaken", INBOX.c.rollout, sqlite_where=INBOX.c.turn.is_(None), postgresql_where=INBOX.c.turn.is_(None)
)
# What a turn asked for. `placed` is whether a queue was given it, `round` how often that was in vain; `owner` is the
# worker that performs it, `done` when its end was told.
OUTBOX = sa.Table(
    "outbox",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("rollout", sa.String, nullable=False, index=True),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("effect", sa.Text, nullable=False),
    sa.Column("asked", sa.Float, nullable=False),
    sa.Column("placed", sa.Boolean, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("owner", sa.String),
    sa.Column("done", sa.Float),
)
sa.Index(
    "undone", OUTBOX.c.target, sqlite_where=OUTBOX.c.done.is_(None), postgresql_where=OUTBOX.c.done.is_(None)
)
# Who takes turns and performs effects. `beat` is when they last said that they live, by the database's clock.
# One that was taken for dead has GONE as its pid.
GONE = 0
WORKERS = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("host", sa.String, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("beat", sa.Float, nullable=False),
)
LEASES = sa.Table(
    "leases",
    metadata,
    sa.Column("cell", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
)
# `release` is the last that was proven there; it is `known` to run there still unless an attempt has begun since, and
# `before` is whether it was known when that began, `at_before` since when (None: there was nothing, or none is under
# way). `inputs` is the digest of what it was made of (None: nobody knows).
STACKS = sa.Table(
    "stacks",
    metadata,
    sa.Column("stack", sa.String, primary_key=True),
    sa.Column("target", sa.String, primary_key=True),
    sa.Column("release", sa.String),
    sa.Column("known", sa.Boolean, nullable=False),
    sa.Column("outputs", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("before", sa.Boolean),
    sa.Column("at_before", sa.Float),
    sa.Column("inputs", sa.String),
)
PROGRESS = sa.Table(
    "progress",
    metadata,
    sa.Column("stack", sa.String, primary_key=True),
    sa.Column("text", sa.String, nullable=False),
    sa.Column("done", sa.Integer, nullable=False),
)
ABORTS = sa.Table("aborts", metadata, sa.Column("attempt", sa.String, primary_key=True))
JOURNAL = sa.Table(
    "journal",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("key", sa.String, unique=True, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("rollout", sa.String, nullable=False, index=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("previous", sa.String, nullable=False),
    sa.Column("hash", sa.String, nullable=False),
)
