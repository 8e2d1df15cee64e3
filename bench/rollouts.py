"""What a rollout costs beside its engines: real workers (see worker.py) on SQLite, and on PostgreSQL as two hosts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import sqlalchemy as sa

from bench import fleets
from bench.decision_cost import plan, play
from bench.planning import least_s
from cellwave.project import Project
from cellwave.releases.build import build_release
from cellwave.rollout.database import database_files
from cellwave.rollout.model import first_state
from cellwave.rollout.presence import READY
from cellwave.rollout.records import Records
from cellwave.rollout.tables import JOURNAL
from cellwave.target import canonical_target
from cellwave.usecases.plans import plan_for
from cellwave.usecases.surroundings import Surroundings

ROOT = Path(__file__).resolve().parents[1]
SERVICES, WAVES = 3, 10
BACKEND = "s3://nowhere"  # no engine ever asks it
LONGEST_S = 900.0
LOOK_S = 0.02


@dataclass
class Fleet:
    """A made-up project, its release and its database, in a folder that is gone afterwards."""

    project: Project
    url: str
    rollout: str = ""

    @cached_property
    def records(self) -> Records:
        """Its database."""
        return Records(self.url)

    def environment(self, host: str = "one") -> dict[str, str]:
        """What a host's worker and commands are started with."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CELLWAVE_"))
        }
        return kept | {
            "CELLWAVE_PROJECT": str(self.project.root),
            "CELLWAVE_HOME": str(self.project.root / f"home-{host}"),
            "CELLWAVE_HOST": host,
            "CELLWAVE_DATABASE_URL": self.url,
            "PULUMI_BACKEND_URL": BACKEND,
            "PYTHONPATH": str(ROOT),
        }

    def begin(self) -> None:
        """Record a rollout of the release to all cells, as `cellwave rollout start` does."""
        around = Surroundings(self.project)
        releases = around.store.list()
        made = plan_for(around, releases[-1], everything=True)
        records = self.records
        self.rollout = records.next_id(made.version)
        records.create_rollout(first_state(self.rollout, made), "ann", canonical_target(BACKEND), time.time())

    def await_end(self) -> None:
        """Wait until the rollout is done."""
        records, deadline = self.records, time.monotonic() + LONGEST_S
        while not (row := records.rollout(self.rollout)) or not row.head.outcome:
            assert time.monotonic() < deadline, "the rollout does not end"
            time.sleep(LOOK_S)
        assert row.head.outcome == "done", row.head.reason

    def converged(self) -> int:
        """How many of its deployments have converged."""
        lines = sa.select(sa.func.count()).where(JOURNAL.c.kind == "converged")
        with self.records.engine.connect() as db:
            return db.execute(lines).scalar_one()

    def await_converged(self, count: int) -> None:
        """Wait until so many have."""
        while self.converged() < count:
            time.sleep(LOOK_S)


@contextmanager
def fleet(deployments: int, url: str = "", waves: int = WAVES) -> Iterator[Fleet]:
    """A fleet of about so many deployments, with a release that nothing runs yet; on a SQLite file without a URL."""
    with tempfile.TemporaryDirectory(prefix="cellwave-bench-") as folder, ExitStack() as stack:
        root = Path(folder)
        project = fleets.write(root, -(-deployments // SERVICES), waves)
        made = Fleet(project, url or f"sqlite:///{root}/cellwave.db")
        before = dict(os.environ)
        stack.callback(os.environ.update, before)
        stack.callback(os.environ.clear)
        os.environ.clear()
        os.environ.update(made.environment())
        build_release(project, "v1")
        yield made


@contextmanager
def workers(made: Fleet, hosts: Sequence[str] = ("one",)) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Workers of these hosts that are ready; killed afterwards."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        running += [start(made, host) for host in hosts]
        for host in hosts:
            await_ready(made, host)
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


def start(made: Fleet, host: str = "one") -> subprocess.Popen[bytes]:
    """Start a host's worker."""
    environment = made.environment(host)
    home = Path(environment["CELLWAVE_HOME"])
    if not home.exists():
        home.mkdir(mode=0o700)
        shutil.copytree(made.project.releases, home / "releases", symlinks=True)
    with (made.project.root / f"{host}.log").open("ab") as log:
        argv = [sys.executable, "-m", "bench.worker"]
        return subprocess.Popen(argv, env=environment, cwd=ROOT, stdout=log, stderr=log)


def await_ready(made: Fleet, host: str = "one") -> None:
    """Wait until a host's worker says that it works."""
    home = Path(made.environment(host)["CELLWAVE_HOME"])
    while not any(READY in lock.read_text() for lock in home.glob("worker-*.lock")):
        time.sleep(LOOK_S)


def rollout_s(deployments: int, url: str = "", hosts: Sequence[str] = ("one",)) -> tuple[float, float]:
    """The seconds of a rollout of so many deployments, from its being recorded to its being done, and the MB of its
    database afterwards (a SQLite file's)."""
    with fleet(deployments, url) as made, workers(made, hosts):
        made.begin()
        begin = time.monotonic()
        made.await_end()
        took = time.monotonic() - begin
        return took, sum(file.stat().st_size for file in database_files(made.url) if file.exists()) / 1e6


def restart_s(deployments: int = 1_000) -> float:
    """The seconds from the start of a worker, in the place of one that was killed half-way through a rollout, to the
    next deployment that has converged."""
    with fleet(deployments) as made:
        with workers(made):
            made.begin()
            made.await_converged(deployments // 2)
        done = made.converged()
        begin = time.monotonic()
        with workers(made):
            made.await_converged(done + 1)
            return time.monotonic() - begin


def status_s(cells: int = 10_000) -> float:
    """How many processor seconds `cellwave rollout status` takes longer for so many cells with three services than for
    one."""
    return _status_s(cells) - _status_s(1)


def _status_s(cells: int) -> float:
    with fleet(SERVICES, waves=1) as made:  # a look reads nothing of the project's files
        # An ended one: nobody has to work on it, and every deployment has come as far as it can.
        played = play(plan(cells, min(cells, WAVES)))
        while played.todo:
            played.step()
        made.records.create_rollout(played.state, "ann", canonical_target(BACKEND), time.time())
        return least_s(made.project.root, "rollout", "status")


def bare_s(url: str = "", count: int = 1_000) -> float:
    """What DBOS alone takes for so many workflows (see bare.py); on a SQLite file without a URL."""
    with tempfile.TemporaryDirectory(prefix="cellwave-bench-") as folder:
        argv = [sys.executable, "-m", "bench.bare", url or f"sqlite:///{folder}/cellwave.db", str(count)]
        return float(subprocess.run(argv, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout)
