"""End what runs from `.cellwave/` (worker, running deployments, sandbox), so that the folder can be removed."""

import os
import signal
import time

from cellwave.project import find_project
from cellwave.rollout.worker import worker_pid
from cellwave.sandbox import server

PATIENCE = 30.0  # seconds for the worker to leave by itself


def main() -> None:
    """Ask the worker to leave, then bring the sandbox down."""
    project = find_project()
    asked, end = None, time.monotonic() + PATIENCE
    while (pid := worker_pid(project)) is not None and time.monotonic() < end:
        if pid and pid != asked:
            os.kill(pid, signal.SIGTERM)
            asked = pid
        time.sleep(0.1)
    server.down(project)


if __name__ == "__main__":
    main()
