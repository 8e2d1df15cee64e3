"""Texts of signals and proofs may hold `{cell}`, `{outputs[name]}` and the like: filled in here, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter
from typing import Any, TypeVar

from cellwave.errors import BadInput
from cellwave.fleet.model import Fleet
from cellwave.frozen import Frozen
from cellwave.health.ports import Scope

M = TypeVar("M", bound=Frozen)


def expand(value: M, scope: Scope, where: str) -> M:
    """The signal or proof with every text filled in from `scope`.

    Raises BadInput that names the key below `where` whose template asks for a name that does not exist.
    """
    return _expand(value, _names(scope), where)


def check_templates(fleet: Fleet) -> None:
    """Raise BadInput for the first template of the fleet that names something no deployment can have.

    Which outputs a stack has is known only after it was deployed, so `{outputs[...]}` is not judged here.
    """
    cells = (*((fleet.control,) if fleet.control else ()), *fleet.cells)
    for cell in cells:
        for service in fleet.services_of(cell.name):
            names = _names(Scope.of(fleet, cell.name, service.name))
            parts = {f"signals.{gate}": signal for gate, signal in service.signals.items()}
            for part, value in (*parts.items(), *((("proof", service.proof),) if service.proof else ())):
                outputs = re.findall(r"outputs\[\w+\]", value.model_dump_json())
                _expand(value, {**names, **dict.fromkeys(outputs, "")}, f"services.{service.name}.{part}")


def _names(scope: Scope) -> dict[str, str]:
    names = scope.model_dump(include={"cell", "service", "region", "account", "aws_region"})
    outputs = {f"outputs[{name}]": text for name, text in scope.outputs.items()}
    return {name: text for name, text in names.items() if text} | outputs


def _expand(value: M, names: Mapping[str, str], where: str) -> M:
    return type(value).model_validate(_fill(value.model_dump(), names, where))


def _fill(value: Any, names: Mapping[str, str], where: str) -> Any:
    if isinstance(value, str):
        return _fill_text(value, names, where)
    if isinstance(value, dict):
        return {key: _fill(item, names, f"{where}.{key}") for key, item in value.items()}
    return value


def _fill_text(text: str, names: Mapping[str, str], where: str) -> str:
    # Not str.format: that would follow attributes and format specifications of what it is given.
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise BadInput(where, f"{text!r} is no template ({error})", "write a literal brace twice") from None
    filled = []
    for literal, name, spec, conversion in parts:
        filled.append(literal)
        if name is None:
            continue
        if name not in names or spec or conversion:
            found = f"{text!r} asks for {{{name}}}, which is not known"
            raise BadInput(where, found, "one of " + ", ".join(f"{{{known}}}" for known in sorted(names)))
        filled.append(names[name])
    return "".join(filled)
