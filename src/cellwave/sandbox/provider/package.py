"""The provider's package schema, for language hosts that ask for it: what `pulumi_aws` says of the types in `kinds`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, get_origin

import pulumi
from pulumi._types import is_input_type
from pulumi_aws.provider import ProviderArgs

from cellwave.sandbox.provider.kinds import TYPES
from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.schema import alternatives, arguments, element
from cellwave.sandbox.provider.sources import SOURCES, Source

Spec = dict[str, Any]

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
_TEXT = {"type": "string"}


@cache
def package(version: str) -> Spec:
    """The schema as hosts read it: every implemented resource type with its inputs, outputs and nested types."""
    types: dict[str, Spec] = {}
    settings = _object(ProviderArgs, types)
    return {
        "name": "aws",
        "version": version,
        "config": {"variables": settings["properties"]},
        "provider": {"inputProperties": settings["properties"], "requiredInputs": settings["required"]},
        "resources": {token: _resource(kind, types) for token, kind in TYPES.items()},
        "functions": {token: _function(source) for token, source in SOURCES.items()},
        "types": types,
    }


def _resource(kind: ResourceType, types: dict[str, Spec]) -> Spec:
    facts = arguments(kind.args)
    return {
        "inputProperties": _properties(facts.types, types),
        "requiredInputs": sorted(facts.required),
        "properties": _properties(kind.types, types),
        "required": sorted(facts.required),
    }


def _function(source: Source) -> Spec:
    names = source.outputs.split()
    return {
        "inputs": {"type": "object", "properties": {"region": _TEXT}},
        "outputs": {"type": "object", "properties": dict.fromkeys(names, _TEXT), "required": sorted(names)},
    }


def _properties(annotations: Mapping[str, Any], types: dict[str, Spec]) -> Spec:
    return {key: _type(annotation, types) for key, annotation in sorted(annotations.items())}


def _object(cls: type, types: dict[str, Spec]) -> Spec:
    facts = arguments(cls)
    return {
        "type": "object",
        "properties": _properties(facts.types, types),
        "required": sorted(facts.required),
    }


def _type(annotation: Any, types: dict[str, Spec]) -> Spec:
    found = _distinct(_plain(kind, types) for kind in alternatives(annotation))
    return found[0] if len(found) == 1 else {"oneOf": found}


def _distinct(specs: Iterable[Spec]) -> list[Spec]:
    found: list[Spec] = []
    for spec in specs:
        if spec not in found:
            found.append(spec)
    return found


def _plain(kind: Any, types: dict[str, Spec]) -> Spec:
    origin = get_origin(kind)
    if origin is not None and issubclass(origin, Sequence):
        return {"type": "array", "items": _type(element(kind), types)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _type(element(kind), types)}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if not isinstance(kind, type) or kind is object:
        return {"$ref": "pulumi.json#/Any"}
    if issubclass(kind, (pulumi.Asset, pulumi.Archive)):
        return {"$ref": f"pulumi.json#/{'Asset' if issubclass(kind, pulumi.Asset) else 'Archive'}"}
    if issubclass(kind, Enum):
        return _TEXT  # its values are checked by the provider itself
    return _nested(kind, types) if is_input_type(kind) else {"$ref": "pulumi.json#/Any"}


def _nested(cls: type, types: dict[str, Spec]) -> Spec:
    module = cls.__module__.split(".")[1].strip("_")
    name = cls.__name__.removesuffix("Args")
    token = f"aws:{'index' if module == 'inputs' else module}/{name}:{name}"
    if token not in types:
        types[token] = {}  # it may hold itself
        types[token].update(_object(cls, types))
    return {"$ref": f"#/types/{token}"}
