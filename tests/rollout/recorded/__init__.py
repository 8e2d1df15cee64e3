"""A database that an earlier cellwave left behind, in the middle of everything; README.md says what is in it."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sqlite3
from pathlib import Path

HERE = Path(__file__).parent
TARGETS = ("file:///nowhere", "file:///elsewhere", "file:///gone")


def recorded_database(folder: Path) -> Path:
    """Put the recorded database, its releases (`project/.cellwave/releases`) and what the fake engine had done into a
    folder; the path of the database."""
    database = folder / "cellwave.db"
    with sqlite3.connect(database) as db:
        db.executescript(gzip.decompress((HERE / "main-0.sql.gz").read_bytes()).decode())
    db.close()
    shutil.copytree(HERE / "releases", folder / "project" / ".cellwave" / "releases")
    world = json.loads((HERE / "world.json").read_text())
    (folder / "bad").write_text(world["bad"])
    (folder / "engine.log").write_text("".join(f"{attempt}\n" for attempt in world["attempts"]))
    (folder / "attempts").mkdir()
    for attempt in world["attempts"]:
        (folder / "attempts" / attempt).touch()
    for stack, release in world["runs"].items():
        (folder / f"runs-{stack}").write_text(release)
    return database


def recorded_statuses() -> dict[str, str]:
    """The status of each recorded rollout, as README.md gives it."""
    return dict(re.findall(r"^\| `([a-z]+-1)` \| (\w+) \|", (HERE / "README.md").read_text(), re.MULTILINE))
