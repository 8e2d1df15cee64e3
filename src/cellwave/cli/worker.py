"""`cellwave worker`."""

from __future__ import annotations

from typing import Annotated

import typer

from cellwave.cli.context import here, say
from cellwave.rollout.worker import work, worker_pid


def worker(idle_exit: Annotated[float | None, typer.Option(hidden=True)] = None) -> None:
    """Run rollouts in the foreground. Commands start one in the background when none runs.

    Example: [bold]cellwave worker[/]
    """
    context = here()
    if pid := worker_pid(context.project):
        say(f"a worker runs already: pid {pid}")
        return
    say("the worker runs; Ctrl-C ends it, and the next one goes on where it was")
    work(context.project, context.environment, idle_exit)
