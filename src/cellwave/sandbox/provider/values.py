"""Property values as the engine sends them, and as plain Python: dict, list, str, bool, int, float."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2  # type: ignore[import-untyped]
from pulumi.runtime.rpc import (
    _special_archive_sig,
    _special_asset_sig,
    _special_secret_sig,
    _special_sig_key,
)

Props = dict[str, Any]

# A value that is known only once the engine has really run (a preview).
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

SIGNATURE = _special_sig_key
ASSET = _special_asset_sig
ARCHIVE = _special_archive_sig


def from_struct(struct: struct_pb2.Struct) -> Props:
    """Plain values of a struct; nulls are dropped, whole numbers are int, secrets are laid open."""
    return dict(_plain(json_format.MessageToDict(struct)))


def to_struct(props: Mapping[str, Any]) -> struct_pb2.Struct:
    """The struct of plain values; nulls are dropped."""
    struct = struct_pb2.Struct()
    struct.update(_plain(dict(props)))
    return struct


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get(SIGNATURE) == _special_secret_sig:
            return _plain(value["value"])
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def has_unknown(value: Any) -> bool:
    """Whether any part of the value is known only after a real run."""
    if isinstance(value, dict):
        return any(map(has_unknown, value.values()))
    if isinstance(value, list):
        return any(map(has_unknown, value))
    return bool(value == UNKNOWN)


def same(left: Any, right: Any) -> bool:
    """Equal as AWS sees it: JSON texts by their content, assets and archives by their hash."""
    if isinstance(left, dict) and isinstance(right, dict):
        if SIGNATURE in left and left.get("hash") and right.get("hash"):
            return bool(left["hash"] == right["hash"])
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) or (_json(left) is not None and _json(left) == _json(right))


def _json(text: Any) -> Any:
    if not (isinstance(text, str) and text[:1] in ("{", "[")):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def settle(live: Any, prior: Any) -> Any:
    """What was read, said as it was said before where both mean the same.

    AWS gives JSON back in its own spelling and sets in its own order; neither is a change.
    """
    if same(live, prior):
        return prior
    if isinstance(live, dict) and isinstance(prior, dict):
        return {key: settle(item, prior.get(key)) for key, item in live.items()}
    if isinstance(live, list) and isinstance(prior, list) and _sorted(live) == _sorted(prior):
        return prior
    return live


def _sorted(items: list[Any]) -> list[str]:
    return sorted(json.dumps(item, sort_keys=True) for item in items)
