"""What ended rollouts leave behind is bounded; what may still be read or run stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwave.deploy.attempt import Attempt, attempts_in, open_attempt
from cellwave.rollout.database import database_files
from cellwave.rollout.gc import collect, litter
from cellwave.rollout.journal import faults
from cellwave.rollout.keys import attempt_name
from cellwave.rollout.loop import take_turn
from cellwave.rollout.model import Commanded, first_state
from cellwave.rollout.records import Records
from cellwave.rollout.rows import Memory
from cellwave.rollout.tables import ABORTS, INBOX, PROGRESS
from tests.rollout.plans import plan


@pytest.fixture
def records(database_url: str) -> Records:
    """An empty database."""
    return Records(database_url)


def begun(home: Path, name: str, at: float) -> Attempt:
    """The folder of an attempt, made at that time."""
    attempt = open_attempt(home, name)
    (attempt.folder / "lock").touch()
    (attempt.folder / "engine.log").write_text("x" * 100)
    os.utime(attempt.folder, (at, at))
    return attempt


def rollout(records: Records, home: Path, number: int, *, ended: bool = True) -> str:
    """A rollout with all that it leaves behind; what the names of its attempts begin with."""
    name, cell = f"v{number}-1", f"c{number}"
    row = records.create_rollout(first_state(name, plan([[cell]])), "ann", "t", float(number))
    attempt = attempt_name(row.name, f"{cell}.query", 1, back=False)
    begun(home, attempt, float(number))
    with records.transaction() as db:
        db.execute(ABORTS.insert().values(attempt=attempt))
    records.set_progress(f"{cell}.query", "create a bucket", 1)
    if ended:
        records.command(f"id-{number}", name, Commanded(at=1.0, action="rollback", actor="ann"))
        while take_turn(records, Memory(), name, 2.0):
            pass
    return row.name


def left(records: Records, home: Path) -> tuple[set[str], set[str], set[str], set[str]]:
    """The rollouts that still have attempts, aborts and events, and the stacks that have progress."""
    with records.engine.connect() as db:
        aborts = {row.attempt.split(".")[0] for row in db.execute(ABORTS.select())}
        events = {row.rollout for row in db.execute(INBOX.select())}
        progress = {row.stack for row in db.execute(PROGRESS.select())}
    return {name.split(".")[0] for name, _ in attempts_in(home)}, aborts, events, progress


def test_the_newest_ended_rollouts_and_the_unfinished_ones_keep_everything(
    records: Records, database_url: str, tmp_path: Path
) -> None:
    """The rest leave their lines in the journal and their place in the list, and nothing else."""
    for number in range(1, 6):
        rollout(records, tmp_path, number, ended=number != 2)
    gone = collect(tmp_path, records, database_url, keep=2)
    kept = {"v2-1", "v4-1", "v5-1"}
    assert left(records, tmp_path) == (kept, kept, kept, {"c2.query"})
    assert (gone.attempts, gone.bytes, gone.workflows) == (2, 200, 0)
    assert len(records.rollouts()) == 5
    assert [e.kind for e in records.journal()].count("rolled_back") == 4
    again = collect(tmp_path, records, database_url, keep=2)
    assert (again.attempts, again.rows) == (0, 0)


def test_an_attempt_that_runs_is_never_removed(records: Records, database_url: str, tmp_path: Path) -> None:
    """An engine that outlived its rollout, and the command line's own attempts: whoever holds the lock keeps it."""
    first, _ = (rollout(records, tmp_path, number) for number in (1, 2))
    held = [
        begun(tmp_path, f"{first}:c1.storage:forward:1", 1.0),
        *(begun(tmp_path, f"up:a.app:{n}", float(n)) for n in range(3)),
    ]
    locks = [attempt.try_lock() for attempt in held]
    collect(tmp_path, records, database_url, keep=1)
    assert all(attempt.folder.exists() for attempt in held)
    for lock in locks:
        assert lock is not None
        os.close(lock)
    collect(tmp_path, records, database_url, keep=1)
    assert [attempt.folder.exists() for attempt in held] == [False, False, False, True]


NAMES = st.builds(
    "{}:{}:{}".format,
    st.sampled_from(["v1-1.aa", "v1-10.aa", "v2-1.bb", "up", "down", "v1-1.bb"]),
    st.sampled_from(["a.app", "b.app"]),
    st.integers(0, 30),
)


@given(
    attempts=st.dictionaries(NAMES, st.tuples(st.integers(0, 99), st.floats(0, 1e9))),
    ended=st.sets(st.sampled_from(["v1-1.aa", "v1-10.aa", "v2-1.bb"])),
    keep=st.integers(1, 4),
)
def test_what_is_kept_is_bounded_and_nothing_of_others_goes(
    attempts: dict[str, tuple[int, float]], ended: set[str], keep: int
) -> None:
    """Ended rollouts go wholly, unknown and unfinished ones stay wholly; of a command's attempts at a stack the newest
    stay."""
    dead = litter(attempts, ended, keep)
    assert len(dead) == len(set(dead))
    stays = attempts.keys() - set(dead)
    for name in attempts:
        if (owner := name.split(":")[0]) not in ("up", "down"):
            assert (name in stays) == (owner not in ended)
    for stack in ("a.app", "b.app"):
        own = [n for n in attempts if n.split(":")[0] in ("up", "down") and n.split(":")[1] == stack]
        kept = [n for n in own if n in stays]
        assert len(kept) == min(keep, len(own))
        assert all(attempts[k] >= attempts[n] for k in kept for n in own if n not in stays)


def test_workflows_of_ended_rollouts_go_and_the_database_gets_smaller(
    records: Records, database_url: str, tmp_path: Path
) -> None:
    """A rollout that has not ended keeps its own, and goes on."""
    argv = [sys.executable, "-m", "tests.rollout.workflows", database_url]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    gone = collect(tmp_path, records, database_url, keep=1)
    assert gone.workflows == 2
    files = database_files(database_url)
    before = sum(file.stat().st_size for file in files)
    records.compact()
    assert sum(file.stat().st_size for file in files) < before or not files
    schema = "" if files else "dbos."
    with records.engine.connect() as db:
        names = db.exec_driver_sql(f"SELECT workflow_uuid FROM {schema}workflow_status").scalars()
        kept = {name.split(".")[0] for name in names}
    assert kept == {"v3-1", "v4-1"}
    assert not faults(records.journal())
