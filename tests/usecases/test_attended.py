"""A worker is started where a command is typed only when no host has one; and it is said since when there was none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from cellwave import __version__
from cellwave.errors import Unavailable
from cellwave.project import Project
from cellwave.rollout.beats import Worker, enter, new_worker
from cellwave.rollout.model import first_state
from cellwave.rollout.presence import end_stopped, lock_of, take_lock
from cellwave.rollout.records import Records
from cellwave.rollout.tables import WORKERS
from cellwave.usecases.rollouts import find, keep_going, looks, wake
from cellwave.usecases.surroundings import Surroundings
from tests.cli.conftest import copy_of_this, work_in
from tests.rollout.plans import plan

LONG_AGO = 86_400.0 * 365


@pytest.fixture
def said() -> list[str]:
    """What a person is told."""
    return []


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The state backends that a worker was started for here."""
    found: list[str] = []

    def start(_project: Project, _environment: object, target: str) -> bool:
        found.append(target)
        return True

    monkeypatch.setattr("cellwave.usecases.rollouts.ensure_worker", start)
    return found


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> Surroundings:
    """A project with an unfinished rollout, that nobody works on."""
    root = copy_of_this(tmp_path)
    work_in(root, monkeypatch)
    Project(root).make_home()
    around = Surroundings(Project(root), said.append)
    around.records.create_rollout(first_state("v2-1", plan([["a"]])), "ann", around.target, time.time())
    return around


def server(around: Surroundings, target: str, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker of another host."""
    with monkeypatch.context() as patch:
        patch.setenv("CELLWAVE_HOST", "server")
        worker = new_worker(Path("/srv/home"), target)
    enter(around.records, worker)
    return worker


def silence(around: Surroundings, worker: Worker) -> None:
    """It was last heard of long ago."""
    with around.records.transaction() as db:
        db.execute(sa.update(WORKERS).where(WORKERS.c.id == worker.id).values(beat=LONG_AGO))


def test_a_laptop_only_looks_on_while_another_host_works(
    around: Surroundings, started: list[str], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have no credentials; when that host is not heard of any more, one is started here."""
    worker = server(around, around.target, monkeypatch)
    assert not wake(around)
    keep_going(around)
    assert (started, said) == ([], [])
    silence(around, worker)
    assert wake(around)
    assert started == [around.target]


def test_the_row_of_this_homes_last_worker_says_nothing_of_the_next(
    around: Surroundings, started: list[str]
) -> None:
    """Killed a moment ago, it is replaced at once."""
    enter(around.records, new_worker(around.project.home, around.target))
    assert wake(around)
    assert started == [around.target]


def test_since_when_nobody_was_there_is_said(
    around: Surroundings, started: list[str], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the one that goes on."""
    silence(around, server(around, around.target, monkeypatch))
    keep_going(around)
    assert started == [around.target]
    assert said == [f"no worker is there for {around.target} since {when(LONG_AGO)}: one goes on now"]


def test_a_rollout_elsewhere_that_nobody_works_on_is_said_to_be_so(
    around: Surroundings, started: list[str], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a shell that can start none for it."""
    other = "s3://production"
    around.records.create_rollout(first_state("v3-1", plan([["b"]])), "ann", other, time.time())
    worker = server(around, other, monkeypatch)
    find(around, "v3-1")
    assert [line for line in said if other in line] == []
    silence(around, worker)
    find(around, "v3-1")
    assert [line for line in said if other in line] == [
        f"no worker is there for {other} since {when(LONG_AGO)}"
    ]
    assert other not in started


@contextmanager
def sleeping(around: Surroundings, signed: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the worker's lock, signed as by its cellwave, and does nothing."""
    lock = take_lock(lock_of(around.project, around.target))
    assert lock is not None
    argv = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, pass_fds=[lock.fileno()])
    with process, lock:
        lock.truncate(0)
        lock.write(f"{process.pid} {signed}\n")
        lock.close()
        assert process.stdout
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def stop(process: subprocess.Popen[bytes]) -> None:
    """As a terminal does."""
    os.kill(process.pid, signal.SIGSTOP)
    while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)


def test_a_stopped_worker_makes_room_for_the_next(around: Surroundings) -> None:
    """Stopped by a terminal or a signal, it does nothing and keeps its lock; one that is only idle is left alone."""
    with sleeping(around, f"{__version__} ready") as process:
        end_stopped(around.project, around.target)
        assert process.poll() is None
        stop(process)
        end_stopped(around.project, around.target)
        process.wait(10)
        next_one = take_lock(lock_of(around.project, around.target))
        assert next_one is not None
        next_one.close()


@pytest.mark.parametrize("signed", ["ready", "0.0.1 ready", "0.0.1"])
@pytest.mark.parametrize("stopped", [False, True])
def test_an_older_cellwaves_worker_makes_room_for_the_next(
    around: Surroundings, started: list[str], signed: str, stopped: bool
) -> None:
    """It is asked to leave, and waited for; the first ones did not sign with a version."""
    with sleeping(around, signed) as process:
        if stopped:
            stop(process)
        assert wake(around)
        assert process.wait(10) == -signal.SIGTERM
    assert started == [around.target]


@pytest.mark.parametrize("signed", [f"{__version__} ready", "999.0 ready"])
def test_a_worker_of_this_cellwave_or_a_newer_one_is_left_alone(
    around: Surroundings, started: list[str], signed: str
) -> None:
    """Two that are used by turns on one home do not end each other's for ever."""
    with sleeping(around, signed) as process:
        wake(around)
        assert process.poll() is None


def test_who_follows_is_told_that_the_database_was_replaced(
    around: Surroundings, started: list[str], tmp_path: Path
) -> None:
    """By another, by an empty one, or by nothing: never that there is no rollout of the name."""
    file = around.project.home / "cellwave.db"
    Records(f"sqlite:///{tmp_path / 'another'}").compact()
    (tmp_path / "empty").touch()
    for name, said in (
        ("another", "not the one that this project"),
        ("empty", "it is empty"),
        ("none", "gone"),
    ):
        following = looks(around, "v2-1")
        assert next(following).id == "v2-1"
        aside = {f: f.rename(tmp_path / f"aside{f.name}") for f in file.parent.glob("cellwave.db*")}
        if name != "none":
            (tmp_path / name).rename(file)
        with pytest.raises(Unavailable, match=said):
            next(following)
        for there in file.parent.glob("cellwave.db*"):
            there.unlink()
        for where, kept in aside.items():
            kept.rename(where)


def when(at: float) -> str:
    """A time as people read it."""
    return datetime.fromtimestamp(at).astimezone().isoformat(" ", "seconds")
