"""`cellwave isolation`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from cellwave.cli.here import here
from cellwave.cli.show import console, keep_whole, row, table, tell, tell_json, text
from cellwave.errors import BadInput
from cellwave.text import counted
from cellwave.usecases.isolation import Checked, check_deployed, check_preview

app = typer.Typer(
    help="Prove that nothing leaves its cell, or lets others in.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[CELL[.SERVICE]]...", help="Default: every stack.")
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Look at what the working tree would make, and change nothing.")
    ] = False,
    wanted: Annotated[
        str | None,
        typer.Option("--release", help="With --preview: that release instead of the working tree."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at every resource that is deployed: what is against a rule, and is not allowed in cells/fleet.yaml.

    Every deployment is held to the same rules before it makes anything. Nothing is changed, and no secret is read.
    Exit code 1 when something is found, or a preview fails.

    Example: [bold]cellwave isolation check[/]   or   [bold]cellwave isolation check us-west-2 --preview --json[/]
    """
    if wanted and not preview:
        raise BadInput("--release", "only a preview is of a release", "--preview beside it, or no --release")
    checked = check_preview(here(), names or (), wanted) if preview else check_deployed(here(), names or ())
    found = any(stack.findings or stack.trouble for stack in checked)
    if as_json:
        tell_json([stack.model_dump() for stack in checked])
    else:
        _show(checked)
    raise typer.Exit(1 if found else 0)


def _show(checked: Sequence[Checked]) -> None:
    total = sum(len(stack.findings) for stack in checked)
    if total:
        shown = table("rule", "resource", "found", "right would be", show_lines=True)
        for stack in (stack for stack in checked if stack.findings):
            shown.add_row(text(stack.stack, "bold"))
            for finding in stack.findings:
                row(shown, finding.rule, finding.resource, finding.found, finding.right)
        keep_whole(shown, 0)
        console().print(shown)
    for stack in checked:
        if stack.trouble:
            tell(f"{stack.stack} could not be previewed: {stack.trouble}")
    deployed = sum(stack.deployed for stack in checked)
    tell(f"{counted(deployed, 'stack')} looked at, {counted(total, 'finding') if total else 'nothing found'}")
    if missing := [stack.stack for stack in checked if not stack.deployed]:
        tell(f"not deployed: {', '.join(missing)}")
