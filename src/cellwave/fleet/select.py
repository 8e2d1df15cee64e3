"""Choosing cells: by name, by product region, by label. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cellwave.errors import BadInput
from cellwave.fleet.model import Cell, Fleet
from cellwave.fleet.yamlfile import did_you_mean


def select(
    fleet: Fleet,
    *,
    cells: Iterable[str] = (),
    regions: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
) -> tuple[Cell, ...]:
    """The cells that are named, and those that match: in one of the regions (if any) with all labels (if
    any).

    In the fleet's order; the control plane's cell is never among them. Unknown names match nothing.
    """
    named, within, wanted = set(cells), set(regions), (labels or {}).items()
    return tuple(
        cell
        for region in fleet.regions
        for cell in region.cells
        if cell.name in named
        or ((within or wanted) and (not within or region.name in within) and wanted <= cell.labels.items())
    )


def require_cell(fleet: Fleet, name: str) -> None:
    """BadInput unless the fleet has a cell of that name; the control plane's is one too."""
    names = [cell.name for cell in fleet.every_cell]
    if name not in names:
        raise BadInput(f"cell {name!r}", "there is none of that name", did_you_mean(name, names, "cells"))


def cells_named(fleet: Fleet, names: Iterable[str], where: str) -> tuple[Cell, ...]:
    """The cells of these names in the fleet's order; BadInput (at `where`) for a name that is not a cell's."""
    known = {cell.name: cell for cell in fleet.cells}
    wanted = set(names)
    for name in sorted(wanted - known.keys()):
        if fleet.control is not None and name == fleet.control.name:
            raise BadInput(
                where, f"{name} is the control plane", "a cell of a region: the control plane is in no wave"
            )
        raise BadInput(where, f"{name!r} is not a cell", did_you_mean(name, known, "cells"))
    return tuple(cell for cell in fleet.cells if cell.name in wanted)


def stacks_named(fleet: Fleet, names: Iterable[str]) -> list[str]:
    """The stacks that are named, by themselves or by their cell, in the fleet's order; BadInput for any other name."""
    cells, wanted = {cell.name for cell in fleet.every_cell}, set(names)
    for name in wanted:
        if name not in cells and name not in fleet.stacks:
            expected = did_you_mean(name, [*cells, *fleet.stacks], "cells and stacks")
            raise BadInput(f"stack {name!r}", "there is none of that name", expected)
    return [stack for stack in fleet.stacks if stack in wanted or stack.rpartition(".")[0] in wanted]
