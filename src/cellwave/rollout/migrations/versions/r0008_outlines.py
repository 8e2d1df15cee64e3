"""What is shown of a plan is kept beside it; what is shown of tracks has an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the table and the indexes; an outline that is missing is made of its plan whenever it is wanted."""
    op.create_table(
        "outlines",
        sa.Column("plan", sa.String, primary_key=True),
        sa.Column("outline", sa.Text, nullable=False),
    )
    op.create_index("phases", "tracks", ["rollout", "leg", "phase", "deployment"])
    some = sa.text("(fault IS NOT NULL OR attempt > 1)")
    op.create_index("remarkable", "tracks", ["rollout", "leg"], sqlite_where=some, postgresql_where=some)
