"""`cellwave worker` as it is, on engines that end at once: what is left is what a rollout costs beside them.

So many engines run at once that none waits for another: a real one takes seconds, and these are over in no time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from cellwave.cli.start import main
from cellwave.deploy.port import Job, Progress, Result
from cellwave.project import Project
from cellwave.rollout import worker

ENGINES = 100
ENDED = Result(
    outcome="succeeded",
    outputs={"url": "https://events.example", "version": "n" * 64},
    changes={"same": 30, "update": 3},
    seconds=3.2,
)


class Instant:
    """A Deployer whose engines end at once, and well."""

    def __init__(self, _project: Project, _environment: Mapping[str, str]) -> None:
        pass

    def run(self, job: Job, *, progress: Callable[[Progress], None], aborted: Callable[[], bool]) -> Result:
        """What an engine told."""
        return ENDED

    def close(self) -> None:
        """Nothing is open."""


if __name__ == "__main__":
    worker.PulumiDeployer = Instant  # type: ignore[assignment, attr-defined]
    worker.FEWEST_ENGINES = ENGINES
    sys.argv = ["cellwave", "worker"]
    main()
