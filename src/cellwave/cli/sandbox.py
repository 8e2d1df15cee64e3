"""`cellwave sandbox`: the emulated AWS of this machine."""

from __future__ import annotations

import json
import shlex
import socket
import time
from collections.abc import Mapping
from typing import Annotated, NoReturn

import typer

from cellwave.cli.context import say, whoami
from cellwave.deploy.attempt import call_off
from cellwave.errors import Unavailable
from cellwave.project import Project, find_project
from cellwave.rollout.records import Records, commands_at_work, recorded, refuse_taken
from cellwave.rollout.worker import lock_of, stop_worker, take_lock
from cellwave.sandbox import server

app = typer.Typer(
    no_args_is_help=True, help="The emulated AWS on this machine: MiniStack, the edge, the provider."
)


def _end_worker(project: Project) -> None:
    if not stop_worker(project, only_of_sandbox=True):
        _worker_stays()


def _worker_stays() -> NoReturn:
    raise Unavailable("the sandbox's worker does not leave", hint="end it, and try again")


def _refuse_while_deployed(leases: Mapping[str, str]) -> None:
    """Leased when a command line of this machine changes a cell: on which backend, nothing tells."""
    here = socket.gethostname()
    busy = {cell: owner for cell, owner in commands_at_work(leases).items() if here in owner.split(":")}
    refuse_taken(busy, busy)


def end_engines(project: Project, records: Records) -> None:
    """Interrupt what a worker's engines are still doing on the sandbox; Unavailable when one does not end."""
    if left := call_off(project.home, records.unfinished(server.target(project))):
        raise Unavailable(
            f"an engine is still at work: {', '.join(left)}", hint="wait for its end, and try again"
        )


def _forget(project: Project, records: Records) -> tuple[str, ...]:
    """Let the engines there end, and forget what runs; the rollouts that this ended."""
    end_engines(project, records)
    return records.forget_target(server.target(project), f"{whoami()} reset the sandbox", time.time())


@app.command()
def up() -> None:
    """Start the sandbox; does nothing when it runs.

    Example: cellwave sandbox up
    """
    server.up(find_project(), say)


@app.command()
def down() -> None:
    """Stop it and its worker; what it holds is there again at the next `up`, and rollouts go on where they were.

    Example: cellwave sandbox down
    """
    project = find_project()
    _end_worker(project)
    say("the sandbox is down" if server.down(project) else "the sandbox was not running")


@app.command()
def reset() -> None:
    """Stop it and forget all it held: emulated accounts, stack states, and the records of what ran there.

    Rollouts on it that have not ended end as failed. Releases, the journal and other backends' records stay.

    Example: cellwave sandbox reset && cellwave sandbox up
    """
    project = find_project()
    project.make_home()
    records = recorded(project.database_url)
    if records:
        _refuse_while_deployed(records.leases())
    _end_worker(project)
    with take_lock(lock_of(project, server.target(project))) or _worker_stays() as lock:
        lock.truncate(0)  # nor does another begin meanwhile
        ended = _forget(project, records) if records else ()
        server.reset(project)
    say("the sandbox is empty" + (f"; ended as failed: {', '.join(ended)}" if ended else ""))


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Say which parts run.

    Example: cellwave sandbox status --json
    """
    parts = server.status(find_project())
    if as_json:
        running = bool(parts) and all(part.alive for part in parts)
        typer.echo(json.dumps({"running": running, "parts": [part.model_dump() for part in parts]}))
        return
    if not parts:
        typer.echo("the sandbox is down")
    for part in parts:
        typer.echo(f"{part.name:<10}127.0.0.1:{part.port:<7}{f'pid {part.pid}' if part.alive else 'dead'}")


@app.command()
def env() -> None:
    """Print what makes this shell's pulumi, aws and boto3 speak to the sandbox.

    Example: eval "$(cellwave sandbox env)"
    """
    for name, value in server.environment(find_project()).items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    typer.echo(f"unset {' '.join(server.FOREIGN)}")
