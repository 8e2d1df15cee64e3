"""A database that vanished, was replaced or was restored is noticed before anybody acts on what it says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cellwave.errors import Unavailable
from cellwave.rollout.identity import forget, remember, require_same
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
