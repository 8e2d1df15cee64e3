"""A resource's state as the engine writes it, into a checkpoint or an event. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

State = Mapping[str, Any]

SECRET_MARK = "4dabf18193072939515e22adb298388d"  # the key by which Pulumi marks a special value
HIDDEN = "[secret]"  # what an event has in place of a secret
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"  # what a preview has in place of a text that it can't know
PROVIDER = "pulumi:providers:"
STACK_TYPE = "pulumi:pulumi:Stack"
REFERENCE_TYPE = "pulumi:pulumi:StackReference"


def name_of(urn: str) -> str:
    """A URN's short form: the resource's type and name."""
    parts = urn.split("::")
    return f"{parts[-2].rsplit('$', 1)[-1]} {parts[-1]}" if len(parts) >= 4 else urn


def is_secret(value: Any) -> bool:
    """Whether a value is a secret, or holds one."""
    if isinstance(value, dict):
        return SECRET_MARK in value or any(is_secret(inner) for inner in value.values())
    return isinstance(value, list) and any(is_secret(inner) for inner in value)


def nested(value: Any) -> Any:
    """A provider's nested input, which the engine keeps as JSON text; None where it is none."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None
