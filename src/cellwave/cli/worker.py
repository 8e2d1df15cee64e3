"""`cellwave worker`."""

from __future__ import annotations

from typing import Annotated

import typer

from cellwave.cli.here import here
from cellwave.cli.show import say
from cellwave.rollout.presence import READY, lock_of, sign, take_lock, worker_pid


def worker(
    lock: Annotated[int | None, typer.Option(hidden=True)] = None,
    idle_exit: Annotated[float | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run rollouts in the foreground. Commands start one in the background when none runs.

    Example: [bold]cellwave worker[/]
    """
    from cellwave.rollout.worker import work  # DBOS and the engine take a second to import

    around = here()
    around.project.make_home()
    file = lock_of(around.project, around.target)
    held = open(lock, "a+") if lock is not None else take_lock(file)  # noqa: SIM115
    if held is None:
        say(f"a worker runs already: pid {worker_pid(file)}")
        return
    sign(held)

    def ready() -> None:
        sign(held, READY)
        say("the worker runs; Ctrl-C ends it, and the next one goes on where it was")

    work(around.project, around.environment, around.target, idle_exit, ready)
