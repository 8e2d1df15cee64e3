"""`cellwave plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cellwave.cli.show import console, keep_whole, row, say, table, tell, tell_json
from cellwave.text import counted

# To load what makes and explains a plan takes as long as all that a help needs.
if TYPE_CHECKING:
    from cellwave.waves.model import Plan

Everything = Annotated[bool, typer.Option("--all", help="Run what would not change, too.")]


def plan(
    wanted: Annotated[
        str | None, typer.Argument(metavar="[RELEASE]", help="Default: the working tree.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    dot: Annotated[bool, typer.Option("--dot", help="Print a Graphviz picture.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid picture.")] = False,
    *,
    everything: Everything = False,
    cell: Annotated[
        str | None, typer.Option("--why", metavar="CELL", help="Say why it stands there.")
    ] = None,
) -> None:
    """Show which cells change in which wave, in what order, and why.

    Example: [bold]cellwave plan v2[/]   or   [bold]cellwave plan v2 --dot | dot -Tsvg > plan.svg[/]
    """
    from cellwave.cli.here import here
    from cellwave.usecases.plans import plan_for
    from cellwave.waves.explain import to_dot, to_mermaid, why

    around = here()
    release = around.store.get(wanted) if wanted else None
    made = plan_for(around, release, everything=everything)
    held = around.store.held(release.digest) if release else None
    if as_json:
        counts = {"deployed": len(made.steps) - len(made.kept), "kept": len(made.kept)}
        tell_json(made.model_dump(mode="json") | {"held": held.reason if held else None, "counts": counts})
    elif dot:
        tell(to_dot(made), lines=True)
    elif mermaid:
        tell(to_mermaid(made), lines=True)
    elif cell:
        tell(why(made, cell), lines=True)
    else:
        console().print(table_of(made))
    if held and not as_json:
        say(f"{made.version} is held by {held.by}, and not started: {held.reason}")


def table_of(made: Plan) -> Table:
    """A plan as a table for a terminal."""
    from cellwave.waves.explain import summed, tally, to_rows

    cells, waves = counted(len(made.cells), "cell"), counted(len(made.waves), "wave")
    title = f"{made.version}: {cells} in {waves}, {tally(made)}"
    shown = table("wave", "cell", "services", "at once, and bake", "why", title=title, show_lines=True)
    shown.columns[2].max_width = 12  # so that in 80 columns a region's name has room in the others
    wave = ""
    for first, cell, services, at_once, bake, why_there in summed(to_rows(made)):
        row(shown, "" if first == wave else first, cell, services, f"{at_once}; {bake}", why_there)
        wave = first
    keep_whole(shown, 0, 1)
    return shown
