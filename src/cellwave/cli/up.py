"""`cellwave up`."""

from __future__ import annotations

from typing import Annotated

import typer

from cellwave.cli.here import here
from cellwave.cli.journal import line
from cellwave.cli.plan import Everything
from cellwave.cli.rollout import detachable, follow, give, show_plan
from cellwave.cli.show import console, say, tell
from cellwave.errors import Detached
from cellwave.usecases import rollouts
from cellwave.usecases.surroundings import Surroundings


def up(
    cell: Annotated[str, typer.Argument(help="A cell's name; the control plane's is one too.")],
    wanted: Annotated[str | None, typer.Option("--release", help="Default: the working tree.")] = None,
    everything: Everything = False,
    undo: Annotated[
        bool, typer.Option("--rollback-on-interrupt", help="Ctrl-C takes it back; a second one detaches.")
    ] = False,
) -> None:
    """Roll a release out to one whole cell, at your word, and follow it. Ctrl-C detaches; the rollout goes on.

    The working tree is frozen as a release first, so that a later rollback can come back to it. What fails goes back to
    what was proven there before, or is taken away where nothing was; the release is not held for it.

    Example: [bold]cellwave up us-west-2[/]   or   [bold]cellwave up control --release v1[/]
    """
    around = here()
    try:
        name = rollouts.begin_up(around, cell, wanted, show_plan, everything=everything)
        code = follow(around, name)
    except Detached as left:
        if not undo:
            raise
        name = left.rollout
        code = take_back(around, name)
    if console().is_terminal:  # elsewhere every line of it was told
        for entry in around.records.journal(name):
            if entry.kind in {"converged", "kept"}:
                tell(line(entry))
    raise typer.Exit(code)


def take_back(around: Surroundings, name: str) -> int:
    """Roll back what Ctrl-C interrupted, unless it has just ended, and follow that; the exit code."""
    say(f"\ntaking {name} back; Ctrl-C again detaches")
    with detachable(name):
        found = rollouts.find(around, name)
        if not found.outcome:
            give(around, "rollback", found, "Ctrl-C")
    return follow(around, name)
