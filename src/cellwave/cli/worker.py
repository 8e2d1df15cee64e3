"""`cellwave worker`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cellwave.cli.here import here
from cellwave.cli.show import say, tell
from cellwave.rollout.presence import READY, lock_of, sign, take_lock, worker_pid
from cellwave.usecases.installing import Installed, install


def worker(
    lock: Annotated[int | None, typer.Option(hidden=True)] = None,
    idle_exit: Annotated[float | None, typer.Option(hidden=True)] = None,
    unit: Annotated[
        bool, typer.Option("--install", help="Write a systemd user unit that keeps it running, and leave.")
    ] = False,
) -> None:
    """Run rollouts in the foreground. Commands start one in the background when none runs on any host.

    Any number of hosts may, when they share the database (PostgreSQL), the releases and the state backend: what a host
    was at that dies, hangs or is cut off goes on elsewhere within a minute. CELLWAVE_HOST tells two apart that have the
    same name.

    Example: [bold]cellwave worker --install[/]
    """
    around = here()
    around.project.make_home()
    if unit:
        show_unit(install(around.project, os.environ))
        return
    from cellwave.rollout.worker import work  # DBOS and the engine take a second to import

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


def show_unit(made: Installed) -> None:
    """Say what is there now, and what to type next."""
    tell(f"{'wrote' if made.written else 'is there already, unchanged'}: {made.file}")
    if made.secrets:
        say(
            f"it holds no secrets: write {', '.join(made.secrets)} as NAME=VALUE lines into {made.secrets_file}"
        )
        say(f"  chmod 600 {made.secrets_file}")
    say(f"  systemctl --user daemon-reload && systemctl --user enable --now {made.name}")
    say("  loginctl enable-linger   # so that it runs while nobody is logged in")
    say(f"  journalctl --user -u {made.name}")
