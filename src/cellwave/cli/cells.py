"""`cellwave cells`."""

from __future__ import annotations

from typing import Annotated

import typer

from cellwave.cli.here import here
from cellwave.cli.show import console, row, table, tell, tell_json
from cellwave.usecases.cells import cells as list_cells


def cells(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the cells, the release that each of their services runs, and where something else is there than should be.

    What a literal `pulumi up` has put there is called the worktree.

    Example: [bold]cellwave cells[/]
    """
    found = list_cells(here())
    if as_json:
        tell_json([cell.model_dump() for cell in found])
        return
    shown = table("cell", "region", "AWS region", "account", "runs", "leased to")
    for cell in (cell for cell in found if cell.in_fleet):
        runs = cell.services
        same = len(set(runs.values())) == 1
        text = next(iter(runs.values())) if same else ", ".join(f"{k} {v or '-'}" for k, v in runs.items())
        fields = (cell.cell, cell.region, cell.aws_region, cell.account, text)
        row(shown, *(value or "-" for value in fields), cell.leased_to or "")
    for column in (shown.columns[0], shown.columns[2], shown.columns[3]):
        column.no_wrap = True
    console().print(shown)
    for cell in found:
        for service, words in cell.drift.items():
            tell(f"{cell.cell}.{service}: {words}")
