"""A database that an earlier cellwave left behind, in the middle of everything; README.md says what is in it."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from dbos import DBOS

from cellwave.rollout.migrations.versions import r0001_baseline

HERE = Path(__file__).parent
TARGETS = ("file:///nowhere", "file:///elsewhere", "file:///gone")


def recorded_database(folder: Path) -> Path:
    """Put the recorded database into a folder, with the world that it tells of; the path of the database."""
    database = folder / "cellwave.db"
    with closing(sqlite3.connect(database)) as db:
        db.executescript(dump())
    recorded_world(folder)
    return database


def recorded_world(folder: Path) -> None:
    """Put the releases (`project/.cellwave/releases`) and what the fake engine had done into a folder."""
    shutil.copytree(HERE / "releases", folder / "project" / ".cellwave" / "releases")
    world = json.loads((HERE / "world.json").read_text())
    (folder / "bad").write_text(world["bad"])
    (folder / "engine.log").write_text("".join(f"{attempt}\n" for attempt in world["attempts"]))
    (folder / "attempts").mkdir()
    for attempt in world["attempts"]:
        (folder / "attempts" / attempt).touch()
    for stack, release in world["runs"].items():
        (folder / f"runs-{stack}").write_text(release)


def dump() -> str:
    """The recorded database as SQLite's statements."""
    return gzip.decompress((HERE / "main-0.sql.gz").read_bytes()).decode()


def recorded_on(engine: sa.Engine) -> str:
    """Put the recorded database into an empty one of either kind; its URL. On PostgreSQL the tables are what that
    cellwave and DBOS made there."""
    url = engine.url.render_as_string(hide_password=False)
    if engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(str(engine.url.database))) as file:
            file.executescript(dump())
        return url
    with engine.begin() as db, Operations.context(MigrationContext.configure(db)):
        r0001_baseline.upgrade()
    DBOS.migrate(url)
    with closing(sqlite3.connect(":memory:")) as source, engine.begin() as db:
        source.executescript(dump())
        source.row_factory = sqlite3.Row
        ours = set(sa.inspect(db).get_table_names())
        found = source.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        names = {str(name) for (name,) in found} - {"dbos_migrations"}
        for name in sorted(names, key=lambda name: name != "workflow_status"):  # what others refer to
            schema = None if name in ours else "dbos"
            table = sa.Table(name, sa.MetaData(), schema=schema, autoload_with=db)
            rows = [_row(table, row) for row in source.execute(f"SELECT * FROM {name}")]
            if rows:
                db.execute(sa.insert(table), rows)
    return url


def _row(table: sa.Table, row: sqlite3.Row) -> dict[str, object]:
    """A row of SQLite's, where truth is a number, as PostgreSQL takes it."""
    truths = {c.name for c in table.columns if isinstance(c.type, sa.Boolean)}
    values = zip(row.keys(), row, strict=True)
    return {name: bool(value) if name in truths and value is not None else value for name, value in values}


def recorded_statuses() -> dict[str, str]:
    """The status of each recorded rollout, as README.md gives it."""
    return dict(re.findall(r"^\| `([a-z]+-1)` \| (\w+) \|", (HERE / "README.md").read_text(), re.MULTILINE))
