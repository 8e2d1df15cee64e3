"""`cellwave lease`."""

from __future__ import annotations

from typing import Annotated

import typer

from cellwave.cli.here import here
from cellwave.cli.show import tell, tell_json, when
from cellwave.usecases.leases import lease_of


def lease(
    cell: Annotated[str, typer.Argument(help="A cell's name.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say who is changing a cell, if anybody is: it is left alone until they are done.

    Programs through `cellwave.cell` ask the same when they are run by a literal `pulumi up`.

    Example: [bold]cellwave lease us-west-2[/]
    """
    found = lease_of(here(), cell)
    if as_json:
        tell_json(found and {**found.model_dump(), "since": when(found.since)})
    elif found:
        tell(f"{cell} is leased to {found.owner} since {when(found.since)}: {found.hint}")
    else:
        tell(f"{cell} is free")
