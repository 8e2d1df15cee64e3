"""The tables of the database of rollouts; records.py is what reads and writes them."""

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
ROLLOUTS = sa.Table(
    "rollouts",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("ended", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
)
LEASES = sa.Table(
    "leases",
    metadata,
    sa.Column("cell", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
)
STACKS = sa.Table(
    "stacks",
    metadata,
    sa.Column("stack", sa.String, primary_key=True),
    sa.Column("target", sa.String, primary_key=True),
    sa.Column("release", sa.String, nullable=False),
    sa.Column("outputs", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
PROGRESS = sa.Table(
    "progress",
    metadata,
    sa.Column("stack", sa.String, primary_key=True),
    sa.Column("text", sa.String, nullable=False),
    sa.Column("done", sa.Integer, nullable=False),
)
COMMANDS = sa.Table(
    "commands",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("rollout", sa.String, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("delivered", sa.Boolean, nullable=False),
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
