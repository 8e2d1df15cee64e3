"""What may be forgotten with a sandbox, and what may not: `cellwave demo` and `cellwave sandbox reset`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cellwave.cli.here import here
from cellwave.demo.fresh import alone, fresh
from cellwave.deploy.attempt import open_attempt
from cellwave.processes import this
from cellwave.project import Project
from cellwave.rollout.leases import process_owner
from cellwave.rollout.model import first_state
from cellwave.rollout.presence import lock_of, take_lock
from cellwave.rollout.records import Records, StackRow, recorded
from cellwave.rollout.rows import RolloutRow
from cellwave.sandbox import server
from tests.cli.conftest import ROOT, Run
from tests.rollout.plans import NEW, plan

REAL = "s3://state-of-the-company"
SLEEPER = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]


@pytest.fixture
def home(project: Path) -> Project:
    """A project that can show its demo, with a release and a worker's leftovers."""
    shutil.copytree(ROOT / "demo", project / "demo")
    made = Project(project)
    made.make_home()
    made.releases.mkdir()
    (made.releases / "kept").touch()
    (server.state_folder(made)).mkdir(parents=True)
    (server.state_folder(made) / "kept").touch()
    return made


def begun(records: Records, name: str, target: str, cell: str) -> RolloutRow:
    """A rollout that has not ended."""
    return records.create_rollout(first_state(name, plan([[cell]])), "ann", target, 1.0)


@pytest.fixture
def stubborn() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not leave when it is asked to."""
    process = subprocess.Popen(SLEEPER)
    yield process
    process.kill()
    process.wait()


@contextmanager
def working(home: Project, target: str, pid: int) -> Iterator[None]:
    """Let that process look like the target's worker."""
    lock = take_lock(lock_of(home, target))
    assert lock is not None
    with lock:
        lock.truncate(0)
        lock.write(f"{pid} ready\n")
        lock.flush()
        yield


def untouched(home: Project) -> bool:
    """Whether all is still there that a demo or a reset takes away."""
    return (home.releases / "kept").exists() and (server.state_folder(home) / "kept").exists()


@pytest.mark.parametrize(
    ("recording", "said"),
    [
        ("stack", f"1 stack on {REAL}"),
        ("rollout", f"1 rollout on {REAL}"),
        ("lease", "us-west-2 by up:ann"),
    ],
)
def test_the_demo_forgets_no_real_project(home: Project, run: Run, recording: str, said: str) -> None:
    """Whatever is recorded of another backend is seen before anything is done: what was found, and what to do."""
    records = Records(home.database_url)
    if recording == "stack":
        records.set_stack(StackRow("us-west-2.storage", REAL, NEW, {}, 1.0))
    elif recording == "rollout":
        begun(records, "v1-1", REAL, "us-west-2")
    else:
        records.lease(["us-west-2"], process_owner("ann"))
    ran = run("demo")
    assert (ran.code, said in ran.err) == (2, True), ran.err
    assert "fresh clone" in ran.err
    assert untouched(home)


def test_the_demo_stops_no_worker_of_another_backend(
    home: Project, run: Run, stubborn: subprocess.Popen[bytes]
) -> None:
    """Its rollouts may be recorded in a database that this shell does not know of."""
    with working(home, REAL, stubborn.pid):
        ran = run("demo")
    assert (ran.code, "works on another backend" in ran.err) == (2, True), ran.err
    assert untouched(home)
    assert stubborn.poll() is None


@pytest.mark.parametrize("url", ["sqlite:///{0}/shared.db", "postgresql://ann:hunter2@db.example/cellwave"])
def test_the_demo_leaves_a_shared_database_alone(
    home: Project, run: Run, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Nor does it judge by its own empty file that the releases here are nobody's."""
    monkeypatch.setenv("CELLWAVE_DATABASE_URL", url.format(home.home))
    ran = run("demo")
    assert (ran.code, "CELLWAVE_DATABASE_URL" in ran.err, "hunter2" in ran.err) == (2, True, False), ran.err
    assert untouched(home)
    assert not (home.home / "shared.db").exists()


def test_the_demo_begins_anew_where_only_the_sandbox_was_worked_on(
    home: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records, releases, attempts and the sandbox of the demo before go, also while a rollout of it has not ended."""
    seen: list[bool] = []
    monkeypatch.setattr(server, "up", lambda project, _report: seen.append(untouched(project)))
    records = Records(home.database_url)
    begun(records, "v1-1", server.target(home), "us-west-2")
    records.set_stack(StackRow("us-west-2.storage", server.target(home), NEW, {}, 1.0))
    attempt = open_attempt(home.home, "v1-1:us-west-2.storage:forward:1")
    assert list(fresh(here()).iterdir()) == []
    assert seen == [False], "a new sandbox is up, after the old one was forgotten"
    assert recorded(home.database_url) is None
    assert not home.releases.exists()
    assert not attempt.folder.exists()


def test_a_second_demo_is_refused_and_so_is_make_clean(home: Project, run: Run) -> None:
    """Neither touches what the first one works on."""
    with alone(home):
        ran = run("demo")
        assert ran.code == 2
        assert f"another demo runs here (pid {os.getpid()})" in ran.err
        assert clean(home).returncode == 2
    assert untouched(home)


def test_make_clean_ends_what_runs(home: Project) -> None:
    """A demo's traffic, for one, that outlived its demo."""
    left = subprocess.Popen(["sleep", "600"], start_new_session=True)
    (home.home / "demo").mkdir()
    (home.home / "demo" / "traffic.json").write_text(this(left.pid).model_dump_json())
    ran = clean(home)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert left.wait() == -signal.SIGTERM


def clean(project: Project) -> subprocess.CompletedProcess[str]:
    """What `make clean` runs before it removes the folder."""
    argv = [sys.executable, "-P", str(ROOT / "tools" / "clean.py")]
    return subprocess.run(argv, cwd=project.root, capture_output=True, text=True, check=False)


def test_a_reset_forgets_what_ran_on_the_sandbox_and_nothing_else(home: Project, run: Run) -> None:
    """After it, `cells` shows nothing there; rollouts on it are over; another backend's records and the releases
    stay."""
    target = server.target(home)
    records = Records(home.database_url)
    for where in (target, REAL):
        records.set_stack(StackRow("us-west-2.storage", where, NEW, {}, 1.0))
    begun(records, "v1-1", target, "us-west-2")
    begun(records, "v2-1", REAL, "eu-west-1")
    ran = run("sandbox", "reset")
    assert (ran.code, "ended as failed: v1-1" in ran.err) == (0, True), ran.err
    assert not server.state_folder(home).exists()
    assert (home.releases / "kept").exists()
    assert (records.stacks(target), set(records.stacks(REAL))) == ({}, {"us-west-2.storage"})
    assert (records.unfinished(target), set(records.unfinished(REAL))) == ({}, {"v2-1"})
    assert records.leases() == {"eu-west-1": "v2-1"}
    assert [e.text for e in records.journal("v1-1")] == ["ann reset the sandbox"]


def test_a_reset_without_records_makes_none(home: Project, run: Run) -> None:
    """There was nothing to forget."""
    assert run("sandbox", "reset").code == 0
    assert recorded(home.database_url) is None


@pytest.mark.parametrize("command", ["reset", "down"])
def test_the_sandbox_stays_while_its_worker_does_not_leave(
    home: Project,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    stubborn: subprocess.Popen[bytes],
    command: str,
) -> None:
    """It would go on deploying into what is no longer there."""
    Records(home.database_url).set_stack(StackRow("us-west-2.storage", server.target(home), NEW, {}, 1.0))
    monkeypatch.setattr("cellwave.rollout.presence.works_elsewhere", lambda pid: pid != stubborn.pid)
    monkeypatch.setattr("cellwave.rollout.presence.LEAVES_WITHIN_S", 0.3)
    with working(home, server.target(home), stubborn.pid):
        ran = run("sandbox", command)
    assert (ran.code, "does not leave" in ran.err) == (2, True), ran.err
    assert untouched(home)
    assert set(here().records.stacks(server.target(home))) == {"us-west-2.storage"}


def test_a_reset_waits_for_no_command_line_but_says_that_one_is_at_work(home: Project, run: Run) -> None:
    """`cellwave up` in another terminal would record what it has put into the emptied sandbox."""
    records = Records(home.database_url)
    records.lease(["us-west-2"], process_owner("ann"))
    ran = run("sandbox", "reset")
    assert (ran.code, "us-west-2 by up:ann" in ran.err) == (2, True), ran.err
    assert untouched(home)


def test_a_reset_interrupts_the_engines_that_a_dead_worker_left(home: Project, run: Run) -> None:
    """An engine outlives its worker; it is asked to stop, and waited for, before its backend goes."""
    records = Records(home.database_url)
    row = begun(records, "v1-1", server.target(home), "us-west-2")
    attempt = open_attempt(home.home, f"{row.name}:us-west-2.storage:forward:1")
    engine = f"""
import fcntl, pathlib, time
folder = pathlib.Path({str(attempt.folder)!r})
with open(folder / "lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / "begun").touch()
    while not (folder / "abort").exists():
        time.sleep(0.05)
    assert pathlib.Path({str(server.state_folder(home))!r}).exists(), "its backend went first"
"""
    with subprocess.Popen([sys.executable, "-c", engine]) as process:
        while not (attempt.folder / "begun").exists():
            time.sleep(0.05)
        assert run("sandbox", "reset").code == 0
        assert process.wait() == 0
    assert not server.state_folder(home).exists()
    assert os.listdir(home.releases) == ["kept"]
