"""Texts of signals and proofs may hold `{cell}`, `{outputs[name]}` and the like: filled in here, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Any, TypeVar

from cellwave.errors import BadInput
from cellwave.frozen import Frozen
from cellwave.health.ports import Scope

M = TypeVar("M", bound=Frozen)


def expand(value: M, scope: Scope, where: str) -> M:
    """The signal or proof with every text filled in from `scope`.

    Raises BadInput that names the key below `where` whose template asks for a name that does not exist.
    """
    return type(value).model_validate(_fill(value.model_dump(), _names(scope), where))


def _names(scope: Scope) -> dict[str, str]:
    names = scope.model_dump(include={"cell", "service", "region", "account", "aws_region"})
    outputs = {f"outputs[{name}]": text for name, text in scope.outputs.items()}
    return {name: text for name, text in names.items() if text} | outputs


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
