"""A worker on fake ports that dies at its effects, and is started again until it ends.

Usage: python -m tests.rollout.crashing FOLDER ROLLOUT: prints the outcome and how often it was killed. The folder
holds `project/`, `crashed` (the effects at which it has died already) and `engine.log` (what the fake engine
did). With a file `faults` in it, the worker does not die, but each point named there fails once. With a file
`deadly` in it, it dies at the point named there only, and is not started again.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dbos import DBOS

from cellwave.deploy.port import Job, Progress, Result
from cellwave.health.model import AlarmReading, Reading
from cellwave.health.ports import Readable, Scope
from cellwave.project import Project
from cellwave.releases.store import DirectoryStore
from cellwave.rollout.records import Records
from cellwave.rollout.runner import launch, pump, revive, wake_forgotten
from cellwave.rollout.shell import Shell
from cellwave.rollout.state import Turn

TARGET = "file:///nowhere"


class Dying:
    """Kills the process, hard, the first time that each named point is passed."""

    def __init__(self, folder: Path) -> None:
        self.seen = folder / "crashed"

    def here(self, point: str) -> None:
        """Die here, once; or fail here, once."""
        faults = self.seen.with_name("faults")
        if faults.exists():
            left = faults.read_text().splitlines()
            if point in left:
                faults.write_text("\n".join(p for p in left if p != point))
                raise OSError(28, "No space left on device")
            return
        deadly = self.seen.with_name("deadly")
        if deadly.exists() and deadly.read_text() != point:
            return
        seen = self.seen.read_text().splitlines() if self.seen.exists() else []
        if point not in seen:
            with self.seen.open("a") as file:
                file.write(point + "\n")
            os.kill(os.getpid(), signal.SIGKILL)


class FakeEngine:
    """A Deployer whose engines are files: an attempt that has ended is not run again."""

    def __init__(self, folder: Path, dying: Dying) -> None:
        self.folder = folder
        self.dying = dying

    def run(self, job: Job, *, progress: Callable[[Progress], None], aborted: Callable[[], bool]) -> Result:
        """Deploy by writing which release the stack runs."""
        self.dying.here(f"before deploy {job.attempt}")
        done = self.folder / "attempts" / job.attempt
        if not done.exists():
            if aborted():
                return Result(outcome="aborted", reason="it was called off before it began")
            done.parent.mkdir(exist_ok=True)
            with (self.folder / "engine.log").open("a") as log:
                log.write(f"{job.attempt}\n")
            (self.folder / f"runs-{job.stack}").write_text(job.release)
            done.touch()
        self.dying.here(f"after deploy {job.attempt}")
        return Result(outcome="succeeded", outputs={}, changes={"update": 1}, seconds=0.1)


class FakeSignals:
    """A service is red while it runs the release named in the folder's `bad`."""

    def __init__(self, folder: Path, dying: Dying) -> None:
        self.folder = folder
        self.dying = dying

    def read(self, signal: Readable, scope: Scope, since: float) -> Reading:
        """An alarm that tells of the bad release."""
        self.dying.here("reading")
        runs = (self.folder / f"runs-{scope.cell}.{scope.service}").read_text()
        red = runs == (self.folder / "bad").read_text()
        return AlarmReading(state="ALARM" if red else "OK", since=time.time() if red else 0.0)


class CrashingRecords(Records):
    """Records that die before and after they keep a decision."""

    dying: Dying

    def commit_turn(self, turn: Turn, at: float, target: str) -> bool:
        """Keep a decision, and die on either side of it."""
        self.dying.here(f"before turn {turn.state.turn}")
        kept = super().commit_turn(turn, at, target)
        self.dying.here(f"after turn {turn.state.turn}")
        return kept


def main(folder: Path, name: str) -> None:
    """Run the worker until the rollout has ended."""
    project = Project(folder / "project")
    records = CrashingRecords(project.database_url)
    records.dying = Dying(folder)
    shell = Shell(
        home=folder,
        target=TARGET,
        records=records,
        store=DirectoryStore(project.home / "releases"),
        deployer=FakeEngine(folder, records.dying),
        signals=FakeSignals(folder, records.dying),
    )
    rollout = launch(project.database_url, shell)
    # As if every workflow had been recovered more often than DBOS allows unless it is told otherwise.
    with records.engine.begin() as db:
        schema = "" if db.dialect.name == "sqlite" else "dbos."
        db.exec_driver_sql(
            f"UPDATE {schema}workflow_status SET recovery_attempts = 500 WHERE status = 'PENDING'"
        )
    while pump(records, rollout, TARGET) or DBOS.list_workflows(status="PENDING", load_input=False):
        revive(records, TARGET)
        wake_forgotten(records)
        time.sleep(0.02)
    row = records.rollout(name)
    assert row is not None
    print(row.state.outcome, flush=True)
    os._exit(0)


if __name__ == "__main__":
    kills = 0
    # Each life is a fork of this process, which never starts a thread: the imports are paid for once.
    while (child := os.fork()) and os.waitpid(child, 0)[1] == signal.SIGKILL:
        kills += 1
        if Path(sys.argv[1], "deadly").exists():
            break
    if child == 0:
        main(Path(sys.argv[1]), sys.argv[2])
    print(kills)
