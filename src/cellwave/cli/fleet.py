"""`cellwave fleet`."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated

import typer

from cellwave.cli.here import here
from cellwave.cli.show import console, keep_whole, row, table, tell, tell_json, text, when
from cellwave.text import counted
from cellwave.usecases.drift import Standing
from cellwave.usecases.fleet_status import StackStatus, fleet_status

app = typer.Typer(help="See what the whole fleet runs.", no_args_is_help=True, rich_markup_mode="rich")
CONTROL, GONE = "control plane", "in no fleet any more"


@app.command()
def status(
    probe: Annotated[
        bool, typer.Option("--probe", help="Ask each service itself too, as its proof says.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show for every stack the release that was last proven there, the one that the state backend says is there, and
    how they differ.

    What a literal `pulumi up` has put there is called the worktree. What is live, but in no fleet any more, comes last.

    Example: [bold]cellwave fleet status[/]   or   [bold]cellwave fleet status --probe --json[/]
    """
    stacks = fleet_status(here(), probe=probe)
    if as_json:
        tell_json([stack.model_dump() for stack in stacks])
        return
    shown = table("stack", "proven", "observed", "drift", "leased to")
    for region, of_region in groupby(sorted(stacks, key=_place), key=_region):
        shown.add_row(text(region, "bold"))
        for stack in of_region:
            observed = _named(stack.observed)
            if stack.answers is not None:
                observed += f"; says {stack.answers}"
            row(shown, stack.stack, _named(stack.expected), observed, stack.drift, stack.leased_to or "")
        shown.add_section()
    keep_whole(shown, 0)
    console().print(shown)
    drifted = sum(bool(stack.drift) for stack in stacks)
    tell(
        f"{counted(len(stacks), 'stack')}, {drifted or 'none'} of them not as proven"
        if stacks
        else "there are no stacks"
    )


def _place(stack: StackStatus) -> tuple[bool, str]:
    """The regions in the order of their names; what is left over, last."""
    return not stack.in_fleet, stack.region or ""


def _region(stack: StackStatus) -> str:
    return (stack.region or CONTROL) if stack.in_fleet else GONE


def _named(standing: Standing | None) -> str:
    if standing is None:
        return "-"
    return f"{standing.name} since {when(standing.since)}" if standing.since else standing.name
