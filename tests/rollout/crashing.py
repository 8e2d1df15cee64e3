"""A worker on fake ports that dies at its effects, and is started again until it ends.

Usage: python -m tests.rollout.crashing FOLDER ROLLOUT: prints the outcome and how often it was killed. The folder
holds `project/`, `crashed` (the effects at which it has died already) and `engine.log` (what the fake engine did).
With a file `faults` in it, the worker does not die, but each point named there fails once. With a file `deadly` in
it, it dies at the point named there only, and is not started again. An engine at work on STACK does not come to its
end while there is a file `slow-STACK`.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cellwave.deploy.port import Job, Progress, Result
from cellwave.health.model import AlarmReading, Reading
from cellwave.health.ports import Scope, Wanted
from cellwave.project import Project
from cellwave.releases.store import DirectoryStore
from cellwave.rollout import effects as performed
from cellwave.rollout import loop, rows, schedule, worker
from cellwave.rollout.beats import Beating, new_worker
from cellwave.rollout.complaints import keep_the_log_small
from cellwave.rollout.effects import Effects
from cellwave.rollout.model import Event
from cellwave.rollout.outbox import Asked
from cellwave.rollout.queues import Queues
from cellwave.rollout.records import Records
from cellwave.rollout.rows import Memory

TARGET = "file:///nowhere"


class Dying:
    """Kills the process, hard, the first time that each named point is passed."""

    def __init__(self, folder: Path) -> None:
        self.seen = folder / "crashed"

    def here(self, point: str) -> None:
        """Die here, once; or fail here, once."""
        point = re.sub(r"(v2-1)\.[0-9a-f]{8}", r"\1", point)
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
        if job.operation == "preview":
            self.dying.here(f"before preview {job.attempt}")
            return Result(outcome="succeeded", changes={"update": 1})
        self.dying.here(f"before deploy {job.attempt}")
        done, told = self.folder / "attempts" / job.attempt, self.folder / "engine.log"
        # A line of the log is whole or not there, whatever moment another thread dies in: it is what has ended.
        if not (told.exists() and job.attempt in told.read_text().splitlines()):
            if aborted():
                return Result(outcome="aborted", reason="it was called off before it began")
            (self.folder / f"runs-{job.stack}").write_text(job.release)
            with told.open("a") as log:
                log.write(f"{job.attempt}\n")
            done.parent.mkdir(exist_ok=True)
            done.touch()
            while (self.folder / f"slow-{job.stack}").exists():
                time.sleep(0.05)
        self.dying.here(f"after deploy {job.attempt}")
        return Result(outcome="succeeded", outputs={}, changes={"update": 1}, seconds=0.1)


class FakeSignals:
    """A service is red while it runs the release named in the folder's `bad`."""

    def __init__(self, folder: Path, dying: Dying) -> None:
        self.folder = folder
        self.dying = dying

    def read(self, wanted: Sequence[Wanted]) -> list[Reading]:
        """See SignalSource."""
        return [self.read_one(one) for one in wanted]

    def read_one(self, wanted: Wanted) -> Reading:
        """An alarm that tells of the bad release."""
        self.dying.here("reading")
        runs = (self.folder / f"runs-{wanted.scope.cell}.{wanted.scope.service}").read_text()
        red = runs == (self.folder / "bad").read_text()
        return AlarmReading(state="ALARM" if red else "OK", since=time.time() if red else 0.0)


class CrashingRecords(Records):
    """Records that die while and after an effect is handed over, and before and after its end is told."""

    dying: Dying

    def placed(self, found: Sequence[Asked], hand_over: Callable[[sa.Connection, Asked], object]) -> None:
        """Effects are handed over, all of them in one transaction."""

        def dying_hand_over(db: sa.Connection, asked: Asked) -> None:
            hand_over(db, asked)
            self.dying.here(f"before placed {asked.key}")

        super().placed(found, dying_hand_over)
        for asked in found:
            self.dying.here(f"after placed {asked.key}")

    def finish(self, asked: Asked, event: Event | None, worker: str) -> None:
        """An effect has ended."""
        self.dying.here(f"before told {asked.key}")
        super().finish(asked, event, worker)
        self.dying.here(f"after told {asked.key}")


def crashing_turns(dying: Dying) -> None:
    """Die inside of a transaction of turns when all is written, and when they were committed."""
    keep, take = rows.keep, loop.take_turn

    def crashing_keep(db: sa.Connection, row: sa.Row[Any], taken: Sequence[rows.Taken]) -> None:
        keep(db, row, taken)
        dying.here(f"inside turn {taken[-1].turn.state.head.turn}")

    def crashing_take(records: Records, memory: Memory, rollout: str, now: float) -> bool:
        if taken := take(records, memory, rollout, now):
            dying.here(f"after turn {memory.states[rollout].head.turn}")
        return taken

    rows.keep, loop.take_turn = crashing_keep, crashing_take


def main(folder: Path, name: str) -> None:
    """Run the worker until the rollout has ended; it waits for less long than a real one before it tries again."""
    worker.LOST_SECONDS, worker.AGAIN_SECONDS, schedule.RETRY_SECONDS = 1.0, 0.2, 0.3
    keep_the_log_small()
    project = Project(folder / "project")
    records = CrashingRecords(project.database_url)
    records.dying = Dying(folder)
    crashing_turns(records.dying)

    def observe(_proof: object, scope: Scope) -> str:
        return (folder / f"runs-{scope.cell}.{scope.service}").read_text()

    performed.observe_digest = observe  # type: ignore[attr-defined, assignment]
    beating = Beating(records, new_worker(folder, TARGET), lambda: None)
    effects = Effects(
        home=folder,
        target=TARGET,
        records=records,
        store=DirectoryStore(project.home / "releases"),
        deployer=FakeEngine(folder, records.dying),
        signals=FakeSignals(folder, records.dying),
        worker=beating.me.id,
    )
    queues = Queues(engines=2)
    beating.start()
    queues.launch(project.database_url, beating.me, effects.perform)
    # As if every workflow had been recovered more often than DBOS allows unless it is told otherwise.
    with records.engine.begin() as db:
        schema = "" if db.dialect.name == "sqlite" else "dbos."
        db.exec_driver_sql(
            f"UPDATE {schema}workflow_status SET recovery_attempts = 500 WHERE status = 'PENDING'"
        )

    def over() -> bool:
        return not records.unfinished(TARGET) and not records.unfinished_effects(TARGET)

    worker.serve(
        records, effects.memory, queues, beating, None, stopped=over, familiar=lambda: None, tidy=lambda: None
    )
    row = records.rollout(name)
    assert row is not None
    print(row.head.outcome, flush=True)
    os._exit(0)


def lives(folder: Path, name: str) -> None:
    """Live, die and be started again until the rollout has ended; prints how often it was killed."""
    kills = 0
    # Each life is a fork of this process, which never starts a thread: the imports are paid for once.
    while (child := os.fork()) and os.waitpid(child, 0)[1] == signal.SIGKILL:
        kills += 1
        if (folder / "deadly").exists():
            break
    if child == 0:
        main(folder, name)
    print(kills, flush=True)


def apart(folder: Path, name: str, url: str, said: Path) -> None:
    """The same in a process that was forked with all imported, over that database; what is printed is in a file."""
    os.environ["CELLWAVE_DATABASE_URL"] = url
    os.environ.pop("CELLWAVE_HOME", None)
    with said.open("w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    lives(folder, name)


if __name__ == "__main__":
    lives(Path(sys.argv[1]), sys.argv[2])
