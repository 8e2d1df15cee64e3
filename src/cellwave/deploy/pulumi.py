"""The Deployer that runs the Pulumi engine."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Mapping

from pydantic import ValidationError

from cellwave.deploy.attempt import Attempt, open_attempt
from cellwave.deploy.events import Tail
from cellwave.deploy.port import Job, Progress, Result
from cellwave.deploy.reasons import trouble_of
from cellwave.deploy.warm import WarmProcess
from cellwave.environment import with_account
from cellwave.project import Project
from cellwave.toolchain.engine import require_engine

POLL = 0.1  # seconds between two looks at progress and abort
RUNS = 4  # of one attempt whose driver was killed


class PulumiDeployer:
    """Runs jobs on the project's engine, with the variables that it and the program get."""

    def __init__(self, project: Project, environment: Mapping[str, str]) -> None:
        self._project = project
        # Language hosts of the project's own are found by the engine on PATH.
        path = f"{environment.get('PATH', os.defpath)}:{project.bin}"
        self._environment = with_account({**environment, "PATH": path}, project.home)
        self._warm = WarmProcess(project.home)
        self._warm.start()

    def run(self, job: Job, *, progress: Callable[[Progress], None], aborted: Callable[[], bool]) -> Result:
        """Run the job to its end, or wait for (and reuse) the run that this attempt has already.

        Raises Unavailable when there is no engine.
        """
        engine = str(require_engine(self._project).path)
        try:
            attempt = open_attempt(self._project.home, job.attempt)
            return self._run(job, engine, attempt, _Watch(attempt, progress, aborted), aborted)
        except OSError as error:
            return Result(outcome="failed", reason=trouble_of(error), transient=True)

    def close(self) -> None:
        """Let the warm process go; running engines go on."""
        self._warm.close()

    def _run(
        self, job: Job, engine: str, attempt: Attempt, watch: _Watch, aborted: Callable[[], bool]
    ) -> Result:
        for _ in range(RUNS):
            lock = watch.until_free()
            if found := attempt.result():
                os.close(lock)
                return found
            if aborted():
                os.close(lock)
                return Result(outcome="aborted", reason="it was called off before it began")
            try:
                connection = self._warm.submit(job, engine, self._environment, attempt.folder, lock)
            finally:
                os.close(lock)
            if found := watch.until_told(connection):
                if found.outcome == "succeeded":
                    attempt.tidy()
                return found
        reason = "the process that runs the deployment was killed again and again"
        return Result(outcome="failed", reason=reason, transient=True)


class _Watch:
    """Looks after a running attempt: passes progress on, and a wish to abort in."""

    def __init__(
        self, attempt: Attempt, progress: Callable[[Progress], None], aborted: Callable[[], bool]
    ) -> None:
        self._attempt = attempt
        self._progress = progress
        self._aborted = aborted
        self._tail = Tail(attempt.events)

    def until_free(self) -> int:
        """Wait until no process of the attempt is left; returns its held lock."""
        while (lock := self._attempt.try_lock()) is None:
            self._look()
            time.sleep(POLL)
        return lock

    def until_told(self, connection: socket.socket) -> Result | None:
        """Wait for the driver's result; None when it was killed."""
        told = b""
        with connection:
            while True:
                if select.select([connection], [], [], POLL)[0]:
                    more = connection.recv(1 << 20)
                    if not more:
                        break
                    told += more
                else:
                    self._look()
        self._look()
        with contextlib.suppress(ValidationError):
            return Result.model_validate_json(told)
        return None

    def _look(self) -> None:
        for event in self._tail.progress():
            self._progress(event)
        if self._aborted():
            self._attempt.ask_abort()
