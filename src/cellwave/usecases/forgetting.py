"""End what works on the sandbox, and forget what it held."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NoReturn

from cellwave.deploy.attempt import call_off
from cellwave.environment import host_name, whoami
from cellwave.errors import Unavailable
from cellwave.project import Project
from cellwave.rollout.cutting import forget_target
from cellwave.rollout.leases import commands_at_work, refuse_taken
from cellwave.rollout.presence import lock_of, stop_worker, take_lock
from cellwave.rollout.records import Records, recorded
from cellwave.sandbox import server


def take_down(project: Project) -> bool:
    """Stop the sandbox and its worker; whether it was running. Unavailable when the worker does not leave."""
    _end_worker(project)
    return server.down(project)


def reset_sandbox(project: Project) -> tuple[str, ...]:
    """Stop the sandbox and forget all it held, and the records of what ran there; the rollouts that this ended.

    Leased when a command changes a cell, Unavailable when the worker or an engine does not end.
    """
    project.make_home()
    records = recorded(project.database_url)
    if records:
        _refuse_while_deployed(records.leases())
    _end_worker(project)
    with take_lock(lock_of(project, server.target(project))) or _worker_stays() as lock:
        lock.truncate(0)  # nor does another begin meanwhile
        ended = _forget(project, records) if records else ()
        server.reset(project)
    return ended


def _end_worker(project: Project) -> None:
    if not stop_worker(project, only_of_sandbox=True):
        _worker_stays()


def _worker_stays() -> NoReturn:
    raise Unavailable("the sandbox's worker does not leave", hint="end it, and try again")


def _refuse_while_deployed(leases: Mapping[str, str]) -> None:
    """Leased when a command line of this machine changes a cell: on which backend, nothing tells."""
    here = host_name()
    busy = {cell: owner for cell, owner in commands_at_work(leases).items() if here in owner.split(":")}
    refuse_taken(busy, busy)


def end_engines(project: Project, records: Records) -> None:
    """Interrupt what a worker's engines are still doing on the sandbox; Unavailable when one does not end."""
    if left := call_off(project.home, set(records.unfinished(server.target(project)).values())):
        raise Unavailable(
            f"an engine is still at work: {', '.join(left)}", hint="wait for its end, and try again"
        )


def _forget(project: Project, records: Records) -> tuple[str, ...]:
    """Let the engines there end, and forget what runs; the rollouts that this ended."""
    end_engines(project, records)
    return forget_target(records, server.target(project), f"{whoami()} reset the sandbox", time.time())
