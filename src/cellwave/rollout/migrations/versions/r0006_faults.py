"""A failure has a kind, where it was known before only whether it was the release's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """A column for another: what was not the release's is of an unknown kind, and what was no failure of none."""
    op.add_column("tracks", sa.Column("fault", sa.String))
    tracks = sa.table("tracks", *map(sa.column, ("fault", "transient", "phase")))
    failed = tracks.c.phase == "failed"
    op.execute(tracks.update().where(failed, tracks.c.transient.is_(sa.true())).values(fault="unknown"))
    op.execute(tracks.update().where(failed, tracks.c.transient.is_(sa.false())).values(fault="release"))
    op.drop_column("tracks", "transient")
