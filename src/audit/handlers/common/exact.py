"""JSON whose numbers are written in the digits that they were read in: an audit's 0.40000000000000002 is no 0.4."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_SAME_AS_INT = 18  # characters; Python takes quadratic time for very long ones, and refuses some


@dataclass(frozen=True, slots=True)
class Number:
    """A number that Python would write in other digits, or not at all."""

    digits: str


def read(text: str, **how: Any) -> Any:
    """As json.loads, but for numbers that `write` could not write again: those are Numbers."""
    return json.loads(text, parse_int=_whole, parse_float=_broken, **how)


def write(value: object, *, only_ascii: bool = True) -> str:
    """As json.dumps, for what `read` has read too; names are texts. Without `only_ascii` other letters are
    themselves."""
    try:
        return json.dumps(value, ensure_ascii=only_ascii)
    except TypeError:  # a Number: rare, and all that json.dumps knows nothing of
        return _written(value, only_ascii)


def _whole(digits: str) -> int | Number:
    return int(digits) if len(digits) <= _SAME_AS_INT and digits != "-0" else Number(digits)


def _broken(digits: str) -> float | Number:
    number = float(digits)
    return number if repr(number) == digits else Number(digits)


def _written(value: object, only_ascii: bool) -> str:
    if isinstance(value, Number):
        return value.digits
    if isinstance(value, dict):
        items = (
            f"{json.dumps(name, ensure_ascii=only_ascii)}: {_written(item, only_ascii)}"
            for name, item in value.items()
        )
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_written(item, only_ascii) for item in value)}]"
    return json.dumps(value, ensure_ascii=only_ascii)
