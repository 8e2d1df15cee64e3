"""`cellwave gc`."""

from __future__ import annotations

from typing import Annotated

import typer

from cellwave.cli.here import here
from cellwave.cli.show import tell, tell_json
from cellwave.text import counted
from cellwave.usecases.collecting import KEPT, collect, in_words


def gc(
    keep: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Of how many of the newest ended rollouts (and attempts of `down` a stack) all is kept.",
        ),
    ] = KEPT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Remove what ended rollouts leave behind: folders of attempts with their logs, and rows of the database; and
    environments of programs that no deployment has used for 30 days.

    The journal, the list of rollouts and what runs stay. A worker does the same by itself, now and then.

    Example: [bold]cellwave gc[/]   or   [bold]cellwave gc --keep 1[/]
    """
    gone = collect(here(), keep)
    if as_json:
        tell_json(gone.model_dump() | {"kept": keep})
    else:
        tell(f"removed: {in_words(gone)}; of the newest {counted(keep, 'ended rollout')} all is kept")
