"""The base of every value: immutable, and strict about unknown keys."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable value that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values give equal text."""
    return _ENCODER.encode(value)


def digest_of(value: Any) -> str:
    """The SHA-256 (hex) of a JSON-able value's canonical text."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
