"""A stack says what it was made of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; of what runs already it is not known."""
    op.add_column("stacks", sa.Column("inputs", sa.String))
