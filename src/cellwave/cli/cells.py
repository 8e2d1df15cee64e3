"""`cellwave cells`."""

from __future__ import annotations

from typing import Annotated

import typer

from cellwave.cli.here import here
from cellwave.cli.show import console, row, table, tell_json
from cellwave.usecases.cells import cells as list_cells


def cells(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the cells, and the release that each of their services runs.

    Example: [bold]cellwave cells[/]
    """
    found = list_cells(here())
    if as_json:
        tell_json([cell.model_dump() for cell in found])
        return
    shown = table("cell", "region", "AWS region", "account", "runs", "leased to")
    for cell in found:
        runs = cell.services
        same = len(set(runs.values())) == 1
        text = next(iter(runs.values())) if same else ", ".join(f"{k} {v or '-'}" for k, v in runs.items())
        fields = (cell.cell, cell.region, cell.aws_region, cell.account, text)
        row(shown, *(value or "-" for value in fields), cell.leased_to or "")
    for column in (shown.columns[0], shown.columns[2], shown.columns[3]):
        column.no_wrap = True
    console().print(shown)
