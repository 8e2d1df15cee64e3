"""A stack says since when it was known what it runs, while an attempt is under way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column; of attempts under way it is not known."""
    op.add_column("stacks", sa.Column("at_before", sa.Float))
