"""A stack keeps what was known of it before the attempt that is under way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; of attempts that are under way it is not known."""
    op.add_column("stacks", sa.Column("before", sa.Boolean))
