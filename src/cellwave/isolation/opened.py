"""A resource's inputs, with every JSON document inside of its texts opened. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cellwave.states import HIDDEN, SECRET_MARK


def opened(value: Any) -> Any:
    """The value with each text that is a JSON object or list replaced by that, and HIDDEN for a secret.

    A document that names a key twice stays a text: who reads it next may take the other one.
    """
    if isinstance(value, Mapping):
        if SECRET_MARK in value:
            return _special(value)
        return {key: opened(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [opened(inner) for inner in value]
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return opened(json.loads(value, object_pairs_hook=_once))
        except (ValueError, RecursionError):
            return value
    return value


def texts(value: Any) -> Iterator[str]:
    """Every text and every number inside, the keys of mappings too."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


def mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping inside, outer ones first."""
    if isinstance(value, Mapping):
        yield value
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for inner in inside:
        yield from mappings(inner)


def listed(value: Any) -> list[Any]:
    """A value that may stand alone or in a list, as a list; nothing for None."""
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _special(value: Mapping[str, Any]) -> Any:
    """What may be looked at of a value that the engine marks: neither a secret's text nor the content of files."""
    return HIDDEN if "ciphertext" in value or "plaintext" in value else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found
