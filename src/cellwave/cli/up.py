"""`cellwave up`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from cellwave.cli.here import here
from cellwave.cli.show import console, tell, text
from cellwave.deploy.port import Progress
from cellwave.usecases.deploying import deploy


def up(
    cell: Annotated[str, typer.Argument(help="A cell's name; the control plane's is one too.")],
    wanted: Annotated[str | None, typer.Option("--release", help="Default: the working tree.")] = None,
) -> None:
    """Deploy one whole cell: its services in the order of their needs.

    The working tree is frozen as a release first, so that a later rollback can come back to it.

    Example: [bold]cellwave up us-west-2[/]   or   [bold]cellwave up control --release v1[/]
    """
    deploy(here(), cell, wanted, tell=tell, watched=shown)


@contextmanager
def shown(stack: str) -> Iterator[Callable[[Progress], None]]:
    """Show a person at the terminal what is done to a stack."""
    with console(stderr=True).status(text(stack)) as status:
        yield lambda event: status.update(
            text(f"{stack}  {event.done} done  {event.operation} {event.resource}")
        )
