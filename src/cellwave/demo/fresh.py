"""An empty sandbox and empty records, which the demo begins with, unless a real project's would be lost."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cellwave.demo.customers import end_leftover
from cellwave.deploy.attempt import attempts_folder
from cellwave.errors import BadInput, Leased, Unavailable
from cellwave.project import Project
from cellwave.rollout.database import database_files
from cellwave.rollout.identity import forget
from cellwave.rollout.leases import commands_at_work
from cellwave.rollout.presence import stop_worker, workers, works_elsewhere
from cellwave.rollout.records import recorded
from cellwave.sandbox import server
from cellwave.usecases.forgetting import end_engines
from cellwave.usecases.surroundings import Surroundings


@contextmanager
def alone(project: Project) -> Iterator[None]:
    """Be the one demo of this project; Unavailable while there is another."""
    project.make_home()
    with (project.home / "demo.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            found = f"another demo runs here (pid {lock.read()}), which this would spoil"
            raise Unavailable(found, hint="wait for its end, or end it by Ctrl-C") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def fresh(around: Surroundings) -> Path:
    """Stop what an earlier demo left, forget the sandbox and its rollouts, and start it anew; the demo's folder.

    Raises as `refuse_to_forget`, before anything else.
    """
    refuse_to_forget(around.project)
    home = around.project.home
    around.project.make_home()
    folder = home / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    if server.status(around.project):
        around.tell("taking down the sandbox of an earlier demo, and forgetting its rollouts and releases")
    end_leftover(folder)
    if not stop_worker(around.project):
        raise Unavailable("the worker does not leave", hint="end it, and run the demo again")
    if records := recorded(around.project.database_url):
        end_engines(around.project, records)
    server.reset(around.project)
    for file in database_files(around.project.database_url):
        file.unlink(missing_ok=True)
    forget(home)
    for spent in (around.project.releases, attempts_folder(home), folder):
        shutil.rmtree(spent, ignore_errors=True)
    folder.mkdir()
    server.up(around.project, around.tell)
    return folder


def refuse_to_forget(project: Project) -> None:
    """BadInput, Unavailable or Leased, in words, unless this project has only ever worked on its own sandbox.

    What the demo forgets are a real project's releases, rollouts, and the records of what runs.
    """
    if project.database_url != project.own_database_url:
        found = "it names another database than this project's own file, and the demo forgets all that is recorded"
        raise BadInput("CELLWAVE_DATABASE_URL", found, "the demo in a fresh clone, with the variable unset")
    elsewhere = "the demo in a fresh clone; this project is left as it is"
    if records := recorded(project.database_url):
        own = server.target(project)
        if others := [f"{what} on {target}" for target, what in records.targets().items() if target != own]:
            raise Unavailable(
                f"the demo would forget what is recorded here: {'; '.join(others)}", hint=elsewhere
            )
        if busy := commands_at_work(records.leases()):
            names = ", ".join(f"{cell} by {owner}" for cell, owner in busy.items())
            raise Leased(f"cells are being changed: {names}", hint=f"wait for its end, or {elsewhere}")
    if pids := [pid for pid in workers(project) if works_elsewhere(pid)]:
        raise Unavailable(f"worker {pids[0]} of this project works on another backend", hint=elsewhere)
