"""What a test brings up goes with it: also when its process is killed, or has no time left to take it down.

`python -m tests.keeping ROOT…` is the keeper: it takes down what these projects have up when whoever started it is gone
without a word.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cellwave.project import Project


@contextmanager
def kept(*projects: Project) -> Iterator[None]:
    """Leaves no worker and no sandbox of these projects behind."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.keeping", *(str(project.root) for project in projects)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as keeper:
        try:
            yield
        finally:
            take_down(projects)
            keeper.communicate("gone\n")


def take_down(projects: tuple[Project, ...]) -> None:
    """End the workers, and then the sandboxes that they work on."""
    from cellwave.rollout.presence import stop_worker
    from cellwave.sandbox import server

    for project in projects:
        stop_worker(project)
    for project in projects:
        server.down(project)


def main(*roots: str) -> None:
    """Keep, until standard input ends."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not sys.stdin.readline():
        take_down(tuple(Project(Path(root)) for root in roots))


if __name__ == "__main__":
    main(*sys.argv[1:])
