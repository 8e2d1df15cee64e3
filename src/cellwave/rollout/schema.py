"""Which schema a database has, and the way from an older one to this cellwave's; the steps are in migrations/."""

from __future__ import annotations

import sqlalchemy as sa

from cellwave.errors import Unavailable
from cellwave.rollout.database import alone

NEWEST = "0009"
REVISION = sa.text("SELECT version_num FROM alembic_version")
FIRST = "0001"  # what a database has whose cellwave had no revisions yet


def bring_up_to_date(engine: sa.Engine) -> None:
    """Give a database this cellwave's schema, whole or not at all; one that has it is not written to.

    Of several processes one does it, and the others wait. Unavailable when a newer cellwave's is found.
    """
    if refuse_newer(engine) != NEWEST:
        with alone(engine) as db:
            _upgrade(db)


def refuse_newer(engine: sa.Engine) -> str | None:
    """The revision of a database as of `revision`; Unavailable when it is one that only a newer cellwave knows."""
    try:
        with engine.connect() as db:
            found = db.execute(REVISION).scalar()
    except sa.exc.DBAPIError:
        # To ask first whether there is such a table costs more than to read it.
        with engine.connect() as db:
            found = revision(db)
    if found is not None and found > NEWEST:
        known = f"it has revision {found}, the newest that this one knows is {NEWEST}"
        raise Unavailable(
            f"the database is a newer cellwave's: {known}",
            hint="a newer cellwave here (nothing was changed), or a database of its own in CELLWAVE_DATABASE_URL",
        )
    return found


def revision(db: sa.Connection) -> str | None:
    """The revision of a database's schema; None when it holds nothing of cellwave's."""
    tables = sa.inspect(db)
    if tables.has_table("alembic_version"):
        return db.execute(REVISION).scalar()
    return FIRST if tables.has_table("rollouts") else None


def _upgrade(db: sa.Connection) -> None:
    from alembic import command  # takes 0.15 s, and is needed once a revision
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "cellwave.rollout:migrations")
    config.attributes["connection"] = db
    if revision(db) == FIRST:
        command.stamp(config, FIRST)
    command.upgrade(config, NEWEST)
