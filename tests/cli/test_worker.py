"""A worker that can't live is told of at once, and a command never waits for another backend's."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from cellwave.cli.here import here
from cellwave.deploy.attempt import open_attempt
from cellwave.project import Project
from cellwave.rollout.loop import take_turns
from cellwave.rollout.model import first_state
from cellwave.rollout.presence import lock_of, stop_worker, take_lock, worker_pid
from cellwave.rollout.records import Records
from cellwave.rollout.rows import COMMAND, Memory
from cellwave.rollout.tables import INBOX
from cellwave.usecases.rollouts import DEATHS
from tests.cli.conftest import Run
from tests.postgres.server import Server
from tests.rollout.plans import plan
from tests.rollout.states import converged, put, record, with_head


@pytest.fixture
def records(project: Path) -> Records:
    """The project's database."""
    Project(project).make_home()
    return Records(Project(project).database_url)


def recorded(records: Records, target: str) -> None:
    """An unfinished rollout on a state backend."""
    records.create_rollout(first_state("v9-1", plan([["eu-west-1"]])), "ann", target, time.time())


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ('raise RuntimeError("broken on purpose")', "broken on purpose"),
        ("import os; os._exit(1)", "it said nothing"),
    ],
)
def test_a_worker_that_cant_live_is_told_with_its_reason_and_nothing_is_recorded(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch, module: str, why: str
) -> None:
    """The command that needs it ends with 2, whatever is wrong in the worker's surroundings."""
    run("release", "build", "--version", "v1")
    (project / "broken").mkdir()
    (project / "broken" / "dbos.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(project / "broken"))
    ran = run("rollout", "start", "v1")
    assert ran.code == 2
    assert "the worker can't live: " in ran.err
    assert why in ran.err
    records = Records(Project(project).database_url)
    assert records.rollouts() == []
    assert records.leases() == {}


@pytest.mark.parametrize("command", ["pause", "approve", "resume", "rollback", "watch"])
def test_a_rollout_of_another_backend_is_not_commanded_from_here(
    project: Path, run: Run, records: Records, command: str
) -> None:
    """The command names both, and is not kept for somebody who would carry it out elsewhere."""
    recorded(records, "s3://production")
    ran = run("rollout", command, "v9-1")
    assert ran.code == 2
    assert "s3://production" in ran.err
    assert os.environ["PULUMI_BACKEND_URL"] in ran.err
    with records.engine.connect() as db:
        assert db.execute(sa.select(INBOX.c.key).where(INBOX.c.key.startswith(COMMAND))).all() == []


def test_an_unknown_rollout_has_no_journal(project: Path, run: Run, records: Records) -> None:
    """It is bad input, and the known ones are named."""
    recorded(records, "s3://production")
    ran = run("journal", "show", "v9-11")
    assert ran.code == 2
    assert "did you mean 'v9-1'?" in ran.err
    assert run("journal", "show", "v9-1").code == 0


DIES_WHEN_READY = """
import glob, os, sys, threading, time
def is_ready():
    try:
        return any("ready" in open(lock).read() for lock in glob.glob(os.environ["CELLWAVE_HOME"] + "/worker-*.lock"))
    except OSError:  # of the one that died before, and is gone meanwhile
        return False
def die():
    while not is_ready():
        time.sleep(0.005)
    os._exit(1)
if "worker" in sys.orig_argv:
    threading.Thread(target=die, daemon=True).start()
"""


def test_a_worker_that_dies_again_and_again_is_not_replaced_in_silence(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever follows is told of each death, and after some of them that it is no use to wait; the rollout stays."""
    run("release", "build", "--version", "v1")
    (project / "broken").mkdir()
    (project / "broken" / "sitecustomize.py").write_text(DIES_WHEN_READY)
    monkeypatch.setenv("PYTHONPATH", str(project / "broken"))
    argv = [sys.executable, "-m", "cellwave.cli.main", "rollout", "start", "v1"]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.count("another goes on") == DEATHS
    assert "the worker died" in ran.stderr
    assert [row.id for row in Records(Project(project).database_url).rollouts()] == ["v1-1"]


def test_gc_tells_what_it_removed_and_leaves_the_history(project: Path, run: Run, records: Records) -> None:
    """Attempts of a rollout that has ended go, but for the newest; list and journal stay, and say who did it."""
    for number in (1, 2):
        name = f"v{number}-1"
        record(records, converged(name, plan([[f"c{number}"]])), "t", at=float(number))
        row = records.rollout(name)
        assert row is not None
        attempt = open_attempt(Project(project).home, f"{row.name}:c.app:forward:1")
        (attempt.folder / "engine.log").write_text("x")
    gone = json.loads(run("gc", "--keep", "1", "--json").out)
    assert gone == {"attempts": 1, "bytes": 1, "environments": 0, "rows": 1, "workflows": 0, "kept": 1}
    said = run("gc", "--keep", "1").out
    assert "removed: 0 attempts (0.0 MiB), 0 environments, 0 workflows, 0 rows;" in said
    assert "newest 1 ended rollout all" in said
    assert run("gc", "--keep", "0").code == 2
    assert len(records.rollouts()) == 2
    assert [(e.kind, e.actor) for e in records.journal()] == [("collected", "ann")] * 2


@pytest.mark.parametrize("case", [("takes it", 3, "rollback taken"), ("ends", 1, "it has ended")])
def test_a_command_is_answered_by_what_became_of_it(
    project: Path, run: Run, records: Records, case: tuple[str, int, str]
) -> None:
    """Taken in the very turn that ends the rollout, or too late: never that it waits where nobody will come."""
    answer, code, said = case
    target = here().target
    recorded(records, target)
    lock = take_lock(lock_of(Project(project), target))  # this test is the worker
    assert lock is not None

    def work() -> None:
        query = sa.select(INBOX.c.key).where(INBOX.c.key.startswith(COMMAND))
        told: Sequence[object] = ()
        while not told:
            with records.engine.connect() as db:
                told = db.execute(query).all()
            time.sleep(0.01)
        if answer == "ends":
            put(records, with_head(records.state("v9-1"), outcome="done", turn=1))
        while take_turns(records, Memory(), target, 2.0):
            pass

    with lock, ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        ran = run("rollout", "rollback", "v9-1", "-m", "because")
        working.result()
    assert (ran.code, said in ran.err) == (code, True), ran.err


def test_the_sandboxs_worker_is_stopped_whoever_else_works(project: Path) -> None:
    """`sandbox down` ends the worker of the sandbox and no other, in whatever order their locks are looked at."""
    home = Project(project)
    home.make_home()
    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
    workers = {}
    for target in ("file:///a", "file:///b", "file:///c"):
        variables = {"CELLWAVE_SANDBOX": "1"} if target == "file:///b" else {}
        lock = take_lock(lock_of(home, target))
        assert lock is not None
        process = subprocess.Popen(sleeping, env={**os.environ, **variables}, pass_fds=[lock.fileno()])
        lock.truncate(0)
        lock.write(f"{process.pid} ready\n")
        lock.close()
        workers[target] = process
    try:
        assert stop_worker(home, only_of_sandbox=True)
        assert workers["file:///b"].wait(10) != 0
        assert [workers[target].poll() for target in ("file:///a", "file:///c")] == [None, None]
    finally:
        for process in workers.values():
            process.kill()
            process.wait()


OLDER = "import cellwave; cellwave.__version__ = '0.0.1'; from cellwave.cli.main import main; main()"


def test_a_newer_cellwaves_command_has_a_worker_of_its_own(project: Path, records: Records) -> None:
    """The older one leaves after its turn, and one of the new one's goes on; an older command leaves that alone."""
    target = here().target
    recorded(records, target)
    file = lock_of(Project(project), target)
    older = subprocess.Popen([sys.executable, "-c", OLDER, "worker"])
    try:
        deadline = time.monotonic() + 120
        while not (file.exists() and "0.0.1 ready" in file.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        newer = [sys.executable, "-m", "cellwave.cli.main"]
        subprocess.run([*newer, "rollout", "list"], check=True, timeout=120)
        assert older.wait(10) == 0
        worker = worker_pid(file)
        assert worker not in (None, 0, older.pid)
        subprocess.run([sys.executable, "-c", OLDER, "rollout", "list"], check=True, timeout=120)
        assert worker_pid(file) == worker
    finally:
        older.kill()
        older.wait()
        assert stop_worker(Project(project))


@pytest.mark.parametrize("refusal", ["the file", "the server"])
def test_a_database_that_takes_no_writes_is_named_with_what_would_be_right(
    postgres: Server, records: Records, run: Run, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    """Exit code 2, and nothing was changed: a file system that only reads, a standby."""
    with contextlib.ExitStack() as stack:
        if refusal == "the server":
            url = stack.enter_context(postgres.database())
            records = Records(url)
            sealed = f"{url}?options=-cdefault_transaction_read_only%3Don"
            monkeypatch.setenv("CELLWAVE_DATABASE_URL", sealed)
        else:

            def seal(connection: sqlite3.Connection, _record: object) -> None:
                connection.execute("PRAGMA query_only=ON")

            stack.callback(sa.event.remove, sa.pool.Pool, "connect", seal)
            sa.event.listen(sa.pool.Pool, "connect", seal)
        ran = run("gc")
        assert ran.code == 2, ran.err
        assert "the database can't be written to: " in ran.err
        assert "right would be: " in ran.err
        assert ("cellwave.db" in ran.err) == (refusal == "the file")
        assert records.journal() == []
        records.engine.dispose()
