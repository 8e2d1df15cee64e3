"""The argument types of `pulumi_aws` as facts: which inputs a type has, which it must have, of what type each is."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Any, Union, get_args, get_origin

import pulumi
from pulumi._types import input_type_py_to_pulumi_names, input_type_types, is_input_type

from cellwave.sandbox.provider.values import ARCHIVE, ASSET, SIGNATURE, UNKNOWN


@dataclass(frozen=True)
class Arguments:
    """An argument class: its inputs by Pulumi name with their types, and which of them must be given."""

    types: Mapping[str, Any]
    required: frozenset[str]


@dataclass(frozen=True)
class Failure:
    """What is wrong with an input. `path` is its property path; the value itself is never told (it may be secret)."""

    path: str
    reason: str


def resource_classes(token: str) -> tuple[type, type]:
    """The Args class and the State class of a resource type, for instance `aws:sqs/queue:Queue`.

    Where a nested type of another resource has that name already, pulumi_aws calls the class `…InitArgs`.
    """
    _, path, name = token.split(":")
    package, module = path.split("/")
    package = {"lambda": "lambda_"}.get(package, package)
    with warnings.catch_warnings():
        # pulumi_aws warns of types of its own that it merely imports.
        warnings.simplefilter("ignore", DeprecationWarning)
        found = import_module(f"pulumi_aws.{package}.{re.sub('(?<!^)(?=[A-Z])', '_', module).lower()}")
    args = getattr(found, f"{name}InitArgs", None) or getattr(found, f"{name}Args")
    return args, getattr(found, f"_{name}State")


@cache
def arguments(cls: type) -> Arguments:
    """The facts of one argument class, top-level or nested."""
    names = input_type_py_to_pulumi_names(cls)
    parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    required = {names[p.name] for p in parameters if p.name in names and p.default is inspect.Parameter.empty}
    return Arguments(dict(input_type_types(cls)), frozenset(required))


@cache
def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The plain types that an annotation allows: without Optional, Awaitable and Output."""
    if get_origin(annotation) is not Union:
        return (annotation,)
    plain = [arg for arg in get_args(annotation) if arg is not type(None)]
    plain = [
        arg for arg in plain if get_origin(arg) not in (Awaitable, pulumi.Output) and not _awaitable(arg)
    ]
    return tuple(dict.fromkeys(kind for arg in plain for kind in alternatives(arg)))


def _awaitable(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Awaitable)


def element(annotation: Any) -> Any:
    """The annotation of a sequence's or mapping's items."""
    return get_args(annotation)[-1]


def check(value: Any, cls: type, path: str = "") -> Iterator[Failure]:
    """Everything wrong with a dict of inputs against an argument class."""
    facts = arguments(cls)
    for key in sorted(facts.required - set(value)):
        yield Failure(_join(path, key), "missing, but required")
    for key, item in value.items():
        if key in facts.types:
            yield from _check(item, facts.types[key], _join(path, key))
        else:
            yield Failure(_join(path, key), f"unknown input{_did_you_mean(key, facts)}")


def _check(value: Any, annotation: Any, path: str) -> Iterator[Failure]:
    if value == UNKNOWN:
        return
    problems = []
    for kind in alternatives(annotation):
        found = list(_against(value, kind, path))
        if not found:
            return
        problems.append(found)
    # Of several alternatives, the one that got deepest is the one that was meant.
    yield from max(problems, key=lambda found: max(len(failure.path) for failure in found))


def _against(value: Any, kind: Any, path: str) -> Iterator[Failure]:
    origin = get_origin(kind)
    if origin is not None and issubclass(origin, Sequence):
        if not isinstance(value, list):
            yield _wrong(path, "a list", value)
            return
        for index, item in enumerate(value):
            yield from _check(item, element(kind), f"{path}[{index}]")
    elif origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            yield _wrong(path, "a map", value)
            return
        for key, item in value.items():
            yield from _check(item, element(kind), _join(path, key))
    elif is_input_type(kind):
        if not isinstance(value, dict):
            yield _wrong(path, "an object", value)
            return
        yield from check(value, kind, path)
    elif not _is(value, kind):
        yield _wrong(path, _NAMES.get(kind, kind.__name__), value)


def _is(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if issubclass(kind, (pulumi.Asset, pulumi.Archive)):
        signature = ASSET if issubclass(kind, pulumi.Asset) else ARCHIVE
        return isinstance(value, dict) and value.get(SIGNATURE) == signature
    if issubclass(kind, Enum):
        return value in [member.value for member in kind]
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, kind)


_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a map",
    pulumi.Asset: "an asset",
    pulumi.Archive: "an archive",
}


def _wrong(path: str, expected: str, value: Any) -> Failure:
    return Failure(path, f"expected {expected}, found {_NAMES.get(type(value), type(value).__name__)}")


def _did_you_mean(key: str, facts: Arguments) -> str:
    from difflib import get_close_matches

    near = get_close_matches(key, facts.types, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _join(path: str, key: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key
