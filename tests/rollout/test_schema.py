"""A database of an earlier cellwave is brought up to date, once and whole; one of a later cellwave is left alone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from cellwave.errors import Unavailable
from cellwave.rollout.database import open_engine
from cellwave.rollout.journal import faults
from cellwave.rollout.records import Records
from cellwave.rollout.schema import NEWEST, bring_up_to_date, revision
from cellwave.rollout.tables import META, metadata
from tests.rollout.recorded import recorded_on


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An empty database."""
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


def shape(engine: sa.Engine) -> dict[str, object]:
    """Columns, keys and indexes of every table of cellwave's."""
    tables = sa.inspect(engine)
    return {
        name: (
            sorted((c["name"], str(c["type"]), c["nullable"]) for c in tables.get_columns(name)),
            tables.get_pk_constraint(name)["constrained_columns"],
            sorted(str(u["column_names"]) for u in tables.get_unique_constraints(name)),
            sorted((i["name"] or "", str(i["column_names"])) for i in tables.get_indexes(name)),
        )
        for name in sorted(metadata.tables)
    }


def test_the_newest_revision_is_the_last_step() -> None:
    """And the steps follow one another."""
    config = Config()
    config.set_main_option("script_location", "cellwave.rollout:migrations")
    steps = ScriptDirectory.from_config(config)
    assert steps.get_current_head() == NEWEST
    assert [s.revision for s in steps.walk_revisions()] == [f"{n:04}" for n in range(int(NEWEST), 0, -1)]


def test_an_empty_database_gets_the_tables_that_the_code_reads(engine: sa.Engine) -> None:
    """No difference between what the steps make and what tables.py says."""
    bring_up_to_date(engine)
    with engine.connect() as db:
        assert revision(db) == NEWEST
        context = MigrationContext.configure(db, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_an_old_database_becomes_as_a_new_one(engine: sa.Engine, tmp_path: Path) -> None:
    """With all that was in it."""
    old = recorded_on(engine)
    bring_up_to_date(engine)
    new = open_engine(f"sqlite:///{tmp_path / 'new'}")
    bring_up_to_date(new)
    if engine.dialect.name == "sqlite":
        assert shape(engine) == shape(new)
    assert not faults(Records(old).journal())


def test_a_database_keeps_its_identity(engine: sa.Engine, tmp_path: Path) -> None:
    """Opened again it is the same; another has another."""

    def identity(of: sa.Engine) -> str:
        bring_up_to_date(of)
        with of.connect() as db:
            return str(db.execute(sa.select(META.c.value).where(META.c.key == "id")).scalar_one())

    assert len(identity(engine)) == 32
    assert identity(engine) == identity(engine) != identity(open_engine(f"sqlite:///{tmp_path / 'another'}"))


def test_a_newer_cellwaves_database_is_refused_and_left_as_it_is(engine: sa.Engine) -> None:
    """In words: what it has, what is known here, and what to do."""
    bring_up_to_date(engine)
    with engine.begin() as db:
        db.exec_driver_sql("UPDATE alembic_version SET version_num = '0999'")
        db.exec_driver_sql("DROP TABLE leases")  # what this cellwave would make again
    with pytest.raises(Unavailable, match=f"revision 0999.* is {NEWEST}") as refused:
        Records(engine.url.render_as_string(hide_password=False))
    assert "a newer cellwave" in refused.value.hint
    assert refused.value.exit_code == 2
    assert "leases" not in sa.inspect(engine).get_table_names()


def test_of_two_that_open_an_old_database_one_brings_it_up_to_date(engine: sa.Engine) -> None:
    """The other waits until it has, and finds nothing to do."""
    url = recorded_on(engine)
    inside, go = threading.Event(), threading.Event()
    told: list[str] = []

    def upgrade(name: str, seen: Any) -> None:
        mine = open_engine(url)
        sa.event.listen(mine, "before_cursor_execute", seen)
        bring_up_to_date(mine)
        told.append(name)
        mine.dispose()

    def first(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if "CREATE TABLE meta" in statement:
            inside.set()
            assert go.wait(60)

    def second(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement == "BEGIN IMMEDIATE" or "pg_advisory" in statement:
            go.set()
        told.extend(word for word in ("CREATE", "UPDATE", "DROP") if word in statement.upper().split())

    threads = [
        threading.Thread(target=upgrade, args=(name, seen)) for name, seen in (("1", first), ("2", second))
    ]
    threads[0].start()
    assert inside.wait(60)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["1", "2"], "the second wrote nothing"
    with engine.connect() as db:
        assert db.execute(sa.select(sa.func.count()).select_from(META)).scalar() == 1


def test_killed_in_the_middle_of_an_upgrade_nothing_has_happened(engine: sa.Engine) -> None:
    """Whichever statement it had come to; the next one does all of it."""
    url = recorded_on(engine)
    run = subprocess.run(
        [sys.executable, "-m", "tests.rollout.upgrading", url],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    *left, kills = run.stdout.splitlines()
    assert int(kills) == len(left) > 5, run.stderr
    with_none, *rest = dict.fromkeys(left)
    assert with_none.startswith("0001 ")
    assert [line[:5] for line in rest] in ([], [f"{NEWEST} "]), "the last death was after the end"
    with engine.connect() as db:
        assert revision(db) == NEWEST


def test_a_database_that_is_up_to_date_costs_a_look(engine: sa.Engine) -> None:
    """No step is loaded, and nothing written."""
    bring_up_to_date(engine)
    url = engine.url.render_as_string(hide_password=False)
    read = "import sys; from cellwave.rollout.records import Records; Records(sys.argv[1])"
    code = f"{read}; print('alembic' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code, url], capture_output=True, text=True, check=True
    ).stdout
    assert said == "False\n"
