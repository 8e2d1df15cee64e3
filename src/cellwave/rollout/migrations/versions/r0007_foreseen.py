"""A track says what a preview showed before its wave."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; nothing has been previewed."""
    op.add_column("tracks", sa.Column("foreseen", sa.Text))
