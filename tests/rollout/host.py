"""A worker as one host of several has it, on fake engines that are processes of their own.

Usage: python -m tests.rollout.host FOLDER HOME [TARGET]: works until no rollout is left. CELLWAVE_HOST is its name.
While FOLDER/wait exists it is ready, and begins nothing.
With "down" as the target it is no worker, but a command that takes the stacks of cell d away.
The engines (host_engine.py) tell in FOLDER/engines what they do: a line of JSON each.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from cellwave.deploy.port import Job, Progress, Result
from cellwave.project import Project
from cellwave.releases.store import DirectoryStore
from cellwave.rollout import effects as performed
from cellwave.rollout.beats import Beating, Pace, holding, new_command, new_worker, renew
from cellwave.rollout.complaints import keep_the_log_small
from cellwave.rollout.effects import Effects
from cellwave.rollout.queues import Queues
from cellwave.rollout.records import Records
from cellwave.rollout.worker import serve
from tests.rollout.crashing import Dying, FakeSignals
from tests.rollout.host_engine import TAKES

PACE = Pace(beat=0.5, fence=3.0, lease=8.0)
SHARED = "s3://shared"  # the state backend


class FakeEngines:
    """A Deployer that has an engine run, or waits for the one that this attempt has already."""

    def __init__(self, file: Path, home: Path) -> None:
        self.file = file
        self.home = home

    def run(self, job: Job, *, progress: Callable[[Progress], None], aborted: Callable[[], bool]) -> Result:
        """Run it to its end."""
        if job.operation == "preview":
            return Result(outcome="succeeded", changes={"update": 1})
        self.home.mkdir(exist_ok=True)
        attempt = self.home / job.attempt
        with attempt.with_name(f"{attempt.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not attempt.exists():
                argv = [sys.executable, "-m", "tests.rollout.host_engine", str(self.file), job.fence]
                more = [job.stack, job.release, str(attempt)]
                subprocess.run([*argv, *more], check=True, start_new_session=True, pass_fds=[lock.fileno()])
        if attempt.exists() and attempt.read_text() == "done":
            return Result(outcome="succeeded", changes={"update": 1}, seconds=TAKES)
        return Result(outcome="failed", reason="its time here was over", fault="network")


def down(folder: Path, home: Path) -> None:
    """Take away the stacks of cell d, one after the other."""
    records = Records(Project(folder / "project").database_url)
    fence, engines = home.with_suffix(".until"), FakeEngines(folder / "engines", home)
    said = "over"
    with holding(records, ["d"], new_command("ann", SHARED), fence, PACE):
        for stack in ("d.ingest", "d.storage"):
            job = Job(
                attempt=stack, stack=stack, operation="destroy", program="", source="", fence=str(fence)
            )
            if engines.run(job, progress=lambda _: None, aborted=lambda: False).outcome != "succeeded":
                said = "lost"
    print(said, flush=True)
    os._exit(0)


def main(folder: Path, home: Path, target: str = SHARED) -> None:
    """Work until nothing is left to do."""
    keep_the_log_small()
    project = Project(folder / "project")
    records = Records(project.database_url)
    queues = Queues(engines=1)
    fence = home.with_suffix(".until")
    beating = Beating(records, new_worker(home, target), queues.wake.set, fence, PACE)
    effects = Effects(
        home=folder,
        target=target,
        records=records,
        store=DirectoryStore(project.home / "releases"),
        deployer=FakeEngines(folder / "engines", home),
        signals=FakeSignals(folder, Dying(folder)),
        worker=beating.me.id,
        fence=str(fence),
    )
    # What runs on a stack, seen from outside.
    performed.observe_digest = lambda _, scope: (folder / f"runs-{scope.cell}.{scope.service}").read_text()  # type: ignore[assignment, attr-defined]
    beating.start()
    queues.launch(project.database_url, beating.me, effects.perform)
    print("ready", flush=True)
    while (folder / "wait").exists():
        time.sleep(0.05)

    def over() -> bool:
        with suppress(SQLAlchemyError):  # the database may be away
            return not records.unfinished(SHARED) and not records.unfinished_effects(SHARED)
        return False

    serve(
        records, effects.memory, queues, beating, None, stopped=over, familiar=lambda: None, tidy=lambda: None
    )
    print("over" if renew(records, beating.me) else "lost", flush=True)
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[3:] == ["down"]:
        down(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
