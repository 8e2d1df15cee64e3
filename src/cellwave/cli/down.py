"""`cellwave down`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from cellwave.cli.here import here
from cellwave.cli.show import console, say, tell, text
from cellwave.deploy.port import Progress
from cellwave.errors import BadInput
from cellwave.usecases.removing import remove, to_remove


def down(
    name: Annotated[str, typer.Argument(metavar="CELL[.SERVICE]")],
    one_way: Annotated[
        str,
        typer.Option(
            "--one-way", metavar="REASON", help="Take what a stateful service keeps along, and why."
        ),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take a cell's stacks away, or one of them: the last of its services' needs first.

    What a stateful service keeps goes only with --one-way. A service that another one needs stays.

    Example: [bold]cellwave down eu-west-1.query[/]   or   [bold]cellwave down eu-west-1 --one-way "it has moved"[/]
    """
    around = here()
    chosen = to_remove(around, name, one_way)
    if not yes and not confirmed([standing.stack for standing in chosen]):
        say("nothing was changed")
        raise typer.Exit(1)
    remove(around, chosen, one_way, tell=tell, watched=shown)


def confirmed(stacks: Sequence[str]) -> bool:
    """Whether a person at the terminal says yes; BadInput where nobody can be asked."""
    named = ", ".join(stacks)
    if not sys.stdin.isatty():
        raise BadInput(named, "this would take it away, and nobody can be asked here", "--yes")
    return typer.confirm(f"Take {named} away?", err=True)


@contextmanager
def shown(stack: str) -> Iterator[Callable[[Progress], None]]:
    """Show a person at the terminal what is done to a stack."""
    with console(stderr=True).status(text(stack)) as status:
        yield lambda event: status.update(
            text(f"{stack}  {event.done} done  {event.operation} {event.resource}")
        )
