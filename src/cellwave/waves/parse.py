"""waves.yaml -> Strategy, checked against the fleet. Pure."""

from __future__ import annotations

from typing import Any

from cellwave.fleet.model import Fleet
from cellwave.fleet.select import select
from cellwave.fleet.yamlfile import Document, Path, did_you_mean, read, validate
from cellwave.waves.model import Bake, Strategy, Wave
from cellwave.waves.planner import over_budget


def parse_strategy(text: str, fleet: Fleet, file: str = "waves.yaml") -> Strategy:
    """The strategy of this text: every cell of the fleet in exactly one wave; BadInput names file and line.

    A bake without `limit` is never extended: its limit is its `seconds`.
    """
    document = read(text, file)
    strategy = validate(Strategy, document, _with_limits(document.data))
    _check_names(strategy, document)
    _check_bake(strategy.bake, document, ("bake",))
    for index, wave in enumerate(strategy.waves):
        _check_wave(wave, fleet, document, ("waves", index))
        if wave.bake is not None:
            _check_bake(wave.bake, document, ("waves", index, "bake"))
    _check_cover(strategy, fleet, document)
    if problem := over_budget(fleet, strategy.budget):
        raise document.bad(("budget",), *problem)
    return strategy


def _with_limits(data: dict[str, Any]) -> dict[str, Any]:
    def extended(block: Any) -> Any:
        if not isinstance(block, dict) or not isinstance(block.get("bake"), dict):
            return block
        bake = block["bake"]
        return {**block, "bake": {"limit": bake["seconds"], **bake} if "seconds" in bake else bake}

    whole: dict[str, Any] = extended(data)
    waves = whole.get("waves")
    return {**whole, "waves": [extended(wave) for wave in waves]} if isinstance(waves, list) else whole


def _check_names(strategy: Strategy, document: Document) -> None:
    first: dict[str, int] = {}
    for index, wave in enumerate(strategy.waves):
        if wave.name in first:
            found = f"two waves named {wave.name} (also {document.where('waves', first[wave.name], 'name')})"
            raise document.bad(("waves", index, "name"), found, "a name of its own")
        first[wave.name] = index


def _check_bake(bake: Bake, document: Document, path: Path) -> None:
    if bake.limit < bake.seconds:
        found = f"a bake with limit {bake.limit:g} below its seconds {bake.seconds:g}"
        raise document.bad((*path, "limit"), found, f"limit: {bake.seconds:g} or more")


def _check_wave(wave: Wave, fleet: Fleet, document: Document, path: Path) -> None:
    if not (wave.cells or wave.regions or wave.labels):
        found = f"wave {wave.name} names no cell"
        raise document.bad(path, found, "cells: […], regions: […] or labels: {…}")
    control = fleet.control.name if fleet.control else None
    cells = [cell.name for cell in fleet.cells]
    regions = [region.name for region in fleet.regions]
    for index, name in enumerate(wave.cells):
        if name == control:
            expected = f"no wave changes the control plane, which all cells share: `cellwave up {name}` does"
            raise document.bad((*path, "cells", index), f"{name} is the control plane", expected)
        if name not in cells:
            found = f"wave {wave.name} names {name!r}, which is not a cell"
            raise document.bad((*path, "cells", index), found, did_you_mean(name, cells, "cells"))
    for index, name in enumerate(wave.regions):
        if name not in regions:
            found = f"wave {wave.name} names {name!r}, which is not a region"
            raise document.bad((*path, "regions", index), found, did_you_mean(name, regions, "regions"))
    if (wave.regions or wave.labels) and not select(fleet, regions=wave.regions, labels=wave.labels):
        _refuse_labels(wave, fleet, document, path)


def _refuse_labels(wave: Wave, fleet: Fleet, document: Document, path: Path) -> None:
    text = ", ".join(f"{key}={value}" for key, value in wave.labels.items())
    inside = f" in {', '.join(wave.regions)}" if wave.regions else ""
    known = {f"{key}={value}" for cell in fleet.cells for key, value in cell.labels.items()}
    found = f"wave {wave.name} selects by {text}, which no cell{inside} has"
    raise document.bad((*path, "labels"), found, did_you_mean(text, known, "labels"))


def _check_cover(strategy: Strategy, fleet: Fleet, document: Document) -> None:
    """Every cell in one wave, and in one only."""
    seen: dict[str, int] = {}
    for index, wave in enumerate(strategy.waves):
        for cell in select(fleet, cells=wave.cells, regions=wave.regions, labels=wave.labels):
            if cell.name in seen:
                other = strategy.waves[seen[cell.name]]
                at = document.where("waves", seen[cell.name])
                found = f"{cell.name} is in two waves: {other.name} ({at}) and {wave.name}"
                raise document.bad(("waves", index), found, "every cell in exactly one wave")
            seen[cell.name] = index
    missing = [cell.name for cell in fleet.cells if cell.name not in seen]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        found = f"{', '.join(missing)} {verb} in no wave"
        raise document.bad(("waves",), found, "every cell in exactly one wave")
