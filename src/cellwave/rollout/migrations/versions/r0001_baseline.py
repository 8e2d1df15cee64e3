"""The tables of the cellwave that had no revisions yet: a database with these and no revision is of this one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("ended", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("cell", sa.String, primary_key=True),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
    )
    op.create_table(
        "stacks",
        sa.Column("stack", sa.String, primary_key=True),
        sa.Column("target", sa.String, primary_key=True),
        sa.Column("release", sa.String, nullable=False),
        sa.Column("outputs", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_table(
        "progress",
        sa.Column("stack", sa.String, primary_key=True),
        sa.Column("text", sa.String, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
    )
    op.create_table(
        "commands",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("rollout", sa.String, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("delivered", sa.Boolean, nullable=False),
    )
    op.create_table("aborts", sa.Column("attempt", sa.String, primary_key=True))
    op.create_table(
        "journal",
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
