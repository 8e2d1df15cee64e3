"""What changes between two sets of inputs, path by path. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.values import SIGNATURE, Props, same, settle


@dataclass(frozen=True)
class Change:
    """One change: its property path, "add", "update" or "delete", and whether it needs a new resource."""

    path: str
    kind: str
    replace: bool

    @property
    def top(self) -> str:
        """The top-level property that it is in."""
        return re.split(r"[.\[]", self.path, maxsplit=1)[0]


def changes(kind: ResourceType, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The changes from old inputs to new ones. What AWS fills in by itself is no change when it is left out."""
    after = kind.effective(new)
    before = kind.before(old, after)
    found = []
    for key in sorted(before.keys() | after.keys()):
        for path, what in _walk(key, before.get(key), after.get(key)):
            found.append(Change(path, what, key in kind.replacing))
    return found


def _walk(path: str, old: Any, new: Any) -> Iterator[tuple[str, str]]:
    if same(settle(new, old), old):
        return
    if old is None or new is None:
        yield path, "add" if old is None else "delete"
    elif isinstance(old, dict) and isinstance(new, dict) and SIGNATURE not in old.keys() | new.keys():
        for key in sorted(old.keys() | new.keys()):
            step = f".{key}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key) else f'["{key}"]'
            yield from _walk(path + step, old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            pair = (items[index] if index < len(items) else None for items in (old, new))
            yield from _walk(f"{path}[{index}]", *pair)
    else:
        yield path, "update"


def in_place_of_itself(kind: ResourceType, found: list[Change]) -> bool:
    """Whether a replacement has the identity of what it replaces, so that the old one must go first."""
    moved = {change.top for change in found}
    return (
        any(change.replace for change in found)
        and bool(kind.told_apart_by)
        and not moved & kind.told_apart_by
    )


def expected(kind: ResourceType, found: list[Change], new: Props, state: Props, unknown: str) -> Props:
    """The outputs that an update will have, as far as they are known before it."""
    recomputed = kind.recomputed(frozenset(change.top for change in found), new)
    taken_back = kind.known - new.keys() - kind.defaults.keys() - kind.may_be_left_out
    kept = {key: state[key] for key in state.keys() - taken_back}
    return {**kept, **new, **dict.fromkeys(recomputed, unknown)}
