"""A database that vanished, was replaced or was restored is noticed before anybody acts on what it says."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from cellwave.errors import Unavailable
from cellwave.project import Project
from cellwave.rollout.database import existing
from cellwave.rollout.identity import forget, remember, require_known, require_same
from cellwave.rollout.model import Note
from cellwave.rollout.records import Records


def opened(file: Path, lines: int = 0) -> Records:
    """A database with some more lines in its journal."""
    records = Records(f"sqlite:///{file}")
    for _ in range(lines):
        records.note(f"{records.head()[0]}", Note(kind="up", text="x"))
    return records


def test_the_same_database_is_known_again_also_when_it_has_grown(tmp_path: Path) -> None:
    """Other hosts write to it too."""
    records = opened(tmp_path / "db", 2)
    require_same(tmp_path, records)
    remember(tmp_path, records)
    require_same(tmp_path, opened(tmp_path / "db", 3))


def test_a_new_database_beside_an_old_home_is_refused(tmp_path: Path) -> None:
    """Its file was deleted, or its URL was changed."""
    remember(tmp_path, opened(tmp_path / "db", 2))
    for file in tmp_path.glob("db*"):
        file.unlink()
    with pytest.raises(Unavailable, match="not the one that this project has worked with"):
        require_same(tmp_path, opened(tmp_path / "db"))


def test_a_file_that_was_replaced_is_noticed_by_who_has_it_open(tmp_path: Path) -> None:
    """It would live on for them alone."""
    records = opened(tmp_path / "db", 2)
    remember(tmp_path, records)
    opened(tmp_path / "other").compact()
    (tmp_path / "other").replace(tmp_path / "db")
    with pytest.raises(Unavailable, match="not the one that this project has worked with"):
        require_same(tmp_path, records)


def test_an_older_copy_is_refused_until_somebody_accepts_it(tmp_path: Path) -> None:
    """What happened since the copy was made is not in it."""
    opened(tmp_path / "db", 2).compact()
    shutil.copy(tmp_path / "db", tmp_path / "copy")
    remember(tmp_path, opened(tmp_path / "db", 1))
    for more in (0, 1):
        with pytest.raises(Unavailable, match="an older copy"):
            require_same(tmp_path, opened(tmp_path / "copy", more))
    forget(tmp_path)
    require_same(tmp_path, opened(tmp_path / "copy"))


def test_a_file_that_was_deleted_is_never_made_anew_by_somebody_who_had_it_open(tmp_path: Path) -> None:
    """Neither by us nor by DBOS, whatever is in the path: put back, it is as it was."""
    home = tmp_path / "a b%41#c?d"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLWAVE_HOME", str(home))
        url = Project(tmp_path).own_database_url
    file, records = home / "cellwave.db", Records(url)
    records.note("a", Note(kind="up", text="x"))
    remember(tmp_path, records)
    require_known(tmp_path, url)
    aside = shutil.move(file, tmp_path / "aside")
    with pytest.raises(Unavailable, match="the database is gone"):
        records.head()
    with pytest.raises(Unavailable, match="the database is gone"):
        require_known(tmp_path, url)
    theirs = sa.create_engine(existing(url))
    with pytest.raises(sa.exc.OperationalError, match="unable to open"):
        theirs.connect()
    assert not file.exists()
    shutil.move(aside, file)
    with theirs.connect() as db:
        assert db.exec_driver_sql("SELECT count(*) FROM journal").scalar() == 1
    require_same(tmp_path, records)
    file.unlink()
    forget(tmp_path)
    require_known(tmp_path, url)


def test_any_number_of_commands_remember_at_once(tmp_path: Path) -> None:
    """None stumbles over another, and nothing is left behind."""
    records = opened(tmp_path / "db")

    def notes(number: int) -> None:
        records.note(str(number), Note(kind="up", text="x"))
        remember(tmp_path, records)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(notes, range(40)))
    remember(tmp_path, records)
    require_same(tmp_path, records)
    assert not list(tmp_path.glob("*.partial"))
