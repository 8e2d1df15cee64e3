"""The Deployer that runs the Pulumi engine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping

from cellwave.deploy.attempt import Attempt, open_attempt
from cellwave.deploy.broken import broken
from cellwave.deploy.deadlines import Deadlines
from cellwave.deploy.port import Job, Progress, Result
from cellwave.deploy.warm import WarmProcess
from cellwave.deploy.watch import Hung, Watch, end
from cellwave.environment import with_account
from cellwave.errors import Unavailable
from cellwave.project import Project
from cellwave.toolchain.engine import require_engine

RUNS = 4  # of one attempt whose driver was killed


class PulumiDeployer:
    """Runs jobs on the project's engine, with the variables that it and the program get."""

    def __init__(
        self, project: Project, environment: Mapping[str, str], deadlines: Deadlines | None = None
    ) -> None:
        self._project = project
        # Language hosts of the project's own are found by the engine on PATH.
        path = f"{environment.get('PATH', os.defpath)}:{project.bin}"
        self._environment = with_account({**environment, "PATH": path}, project.home)
        self._deadlines = deadlines or Deadlines()
        self._warm = WarmProcess(project.home, self._environment, self._deadlines)
        self._warm.start()

    def run(self, job: Job, *, progress: Callable[[Progress], None], aborted: Callable[[], bool]) -> Result:
        """Run the job to its end, or wait for (and reuse) the run that this attempt has already.

        Raises Unavailable when there is no engine.
        """
        engine = str(require_engine(self._project).path)
        attempt = None
        try:
            attempt = open_attempt(self._project.home, job.attempt)
            with contextlib.closing(Watch(attempt, job, self._deadlines, progress, aborted)) as watch:
                try:
                    return self._run(job, engine, attempt, watch, aborted)
                except Hung as hung:
                    return end(attempt, hung.result)
        except (OSError, Unavailable) as error:
            return broken(attempt, error)

    def close(self) -> None:
        """Let the warm process go; running engines go on."""
        self._warm.close()

    def _run(
        self, job: Job, engine: str, attempt: Attempt, watch: Watch, aborted: Callable[[], bool]
    ) -> Result:
        for _ in range(RUNS):
            lock = watch.until_free()
            if found := attempt.result():
                os.close(lock)
                return found
            if aborted():
                os.close(lock)
                return Result(outcome="aborted", reason="it was called off before it began", began=False)
            try:
                connection = self._warm.submit(job, engine, attempt, lock, watch)
            finally:
                os.close(lock)
            if found := watch.until_told(connection):
                if found.outcome == "succeeded":
                    attempt.tidy()
                return found
        reason = "the process that runs the deployment was killed again and again"
        return Result(outcome="failed", reason=reason, fault="host")
