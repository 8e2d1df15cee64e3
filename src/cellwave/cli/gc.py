"""`cellwave gc`."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from cellwave.cli.context import here, whoami
from cellwave.cli.show import tell, tell_json
from cellwave.rollout.records import KEPT
from cellwave.rollout.state import Note


def gc(
    keep: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Of how many of the newest ended rollouts (and attempts of `up` and `down` a stack) all is kept.",
        ),
    ] = KEPT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Remove what ended rollouts leave behind: folders of attempts with their logs, and rows of the database; and
    environments of programs that no deployment has used for 30 days.

    The journal, the list of rollouts and what runs stay. A worker does the same by itself, now and then.

    Example: [bold]cellwave gc[/]   or   [bold]cellwave gc --keep 1[/]
    """
    from cellwave.rollout.gc import collect  # DBOS takes a second to import

    context = here()
    gone = collect(context.project.home, context.records, context.project.database_url, keep)
    removed = (
        f"{gone.attempts} attempts ({gone.bytes / 2**20:.1f} MiB), {gone.environments} environments, "
        f"{gone.workflows} workflows, {gone.rows} rows"
    )
    context.records.note(str(uuid.uuid4()), Note(kind="collected", text=removed, actor=whoami()))
    context.records.compact()
    if as_json:
        tell_json(gone.model_dump() | {"kept": keep})
    else:
        rollouts = "rollout" if keep == 1 else "rollouts"
        tell(f"removed: {removed}; of the newest {keep} ended {rollouts} all is kept")
