"""`cellwave sandbox`: the emulated AWS of this machine."""

from __future__ import annotations

import json
import shlex
from typing import Annotated

import typer

from cellwave.cli.show import say
from cellwave.project import find_project
from cellwave.sandbox import server
from cellwave.usecases.forgetting import reset_sandbox, take_down

app = typer.Typer(
    no_args_is_help=True, help="The emulated AWS on this machine: MiniStack, the edge, the provider."
)


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
    say("the sandbox is down" if take_down(find_project()) else "the sandbox was not running")


@app.command()
def reset() -> None:
    """Stop it and forget all it held: emulated accounts, stack states, and the records of what ran there.

    Rollouts on it that have not ended end as failed. Releases, the journal and other backends' records stay.

    Example: cellwave sandbox reset && cellwave sandbox up
    """
    ended = reset_sandbox(find_project())
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
