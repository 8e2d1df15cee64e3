"""What an application has registered of its events' shape: a subset of JSON Schema 2020-12, and whether an event fits.

Each keyword looks at one value alone and no schema stands for another, so each part of an event is looked at once: a
schema can't make anybody wait. There are no patterns, references or combinations (docs/decisions/0102). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any

from audit.handlers.common.events import Problem
from audit.handlers.common.exact import Number, write

MOST_BYTES = 8 * 1024  # of a schema, as JSON
MOST_DEPTH = 16  # of schemas in one another
MOST_LEVELS = (
    40  # of all in one another, examples too: with what is around it, what a cell reads of a snapshot
)
MOST_VALUES = 100  # of an enum
MOST_PROBLEMS = 20  # of an event that are told
MARK = "eventSchemaVersion"  # the field of a stored event: which version of its action's schema it was held against

Schema = Mapping[str, Any]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Number) and not isinstance(value, bool)


# What says something to people alone.
_WORDS = ("$schema", "$comment", "title", "description", "examples", "default", "deprecated", "format")
_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and _is_whole(value),
}

_LIST, _TEXT, _OBJECT = (_TYPES[name] for name in ("array", "string", "object"))


def problems(schema: Schema, value: object, where: str = "") -> Iterator[Problem]:
    """Everything in which a value does not fit a schema; nothing when it fits. What a schema says in words that are
    not known here, a newer release's, asks for nothing."""
    for keyword, (fits, expected, _) in _RULES.items():
        if keyword in schema and not fits(value, schema[keyword]):
            yield Problem(where or "(event)", _shown(value), expected(schema[keyword]))
    if isinstance(value, dict):
        yield from _of_an_object(schema, value, where)
    elif isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from problems(items, item, f"{where}[{index}]")


def faults(schema: object) -> Iterator[Problem]:
    """Everything for which a value can't be registered as a schema."""
    yield from _faults(schema, "(schema)", MOST_DEPTH)
    size = len(write(schema))
    if size > MOST_BYTES:
        yield Problem("(schema)", f"{size} bytes", f"at most {MOST_BYTES} bytes as JSON")
    yield from _untellable(schema)


def held_against(known: Mapping[str, Any], event: Mapping[str, Any]) -> tuple[int | None, list[Problem]]:
    """The version of the schema that is in force for an event's action, if any, and what is wrong with the event by it.

    `known` is what a directory has of the application.
    """
    found = known.get("schemas", {}).get(event["eventName"])
    if found is None:
        right = "an action that the application has a schema of"
        strict = [Problem("eventName", _shown(event["eventName"]), right)]
        return None, strict if known.get("strict") else []
    version = int(found["version"])
    by = f"(version {version} of this action's schema)"
    wrong = islice(problems(found["schema"], event), MOST_PROBLEMS)
    return version, [Problem(one.field, one.found, f"{one.expected} {by}") for one in wrong]


def _of_an_object(schema: Schema, value: Mapping[str, Any], where: str) -> Iterator[Problem]:
    prefix = f"{where}." if where else ""
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name in schema.get("required", ()):
        if name not in value:
            yield Problem(f"{prefix}{name}", "nothing", "it is required")
    for name, item in value.items():
        if name in known:
            yield from problems(known[name], item, f"{prefix}{name}")
        elif others is False:
            yield Problem(f"{prefix}{name}", _shown(item), "nothing: the schema has no such field")
        elif isinstance(others, dict):
            yield from problems(others, item, f"{prefix}{name}")


def _faults(schema: object, where: str, left: int) -> Iterator[Problem]:
    if not isinstance(schema, dict):
        yield Problem(where, _shown(schema), "an object that says what a value must be")
        return
    if not left:
        yield Problem(where, "one more", f"schemas at most {MOST_DEPTH} deep in one another")
        return
    for keyword, said in schema.items():
        here = f"{where}.{keyword}"
        if keyword in _SAID:
            right, expected = _SAID[keyword]
            if not right(said):
                yield Problem(here, _shown(said), expected)
        elif keyword in ("properties", "items", "additionalProperties"):
            yield from _inner(keyword, said, here, left)
        elif keyword not in _WORDS:
            yield Problem(here, "a word that is not known", f"one of {', '.join(_KNOWN)}")


def _untellable(schema: object) -> Iterator[Problem]:
    """What JSON of others could not say again, wherever it stands: among examples nothing else would look at it."""
    level: list[Any] = [schema]
    for _ in range(MOST_LEVELS + 1):
        if found := next((one for one in level if isinstance(one, Number)), None):
            yield Problem("(schema)", found.digits[:80], "numbers as 1 or 0.5")
            return
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    if level:
        yield Problem("(schema)", "more", f"objects and lists at most {MOST_LEVELS} deep in one another")


def _inner(keyword: str, said: object, where: str, left: int) -> Iterator[Problem]:
    if keyword == "properties":
        if not isinstance(said, dict):
            yield Problem(where, _shown(said), "an object of schemas")
            return
        for name, one in said.items():
            yield from _faults(one, f"{where}.{name}", left - 1)
    elif keyword == "items" or not isinstance(said, bool):
        yield from _faults(said, where, left - 1)


def _is_whole(value: int | float | Number) -> bool:
    if isinstance(value, int):
        return True
    number = _decimal(value)
    return number.is_finite() and number == number.to_integral_value()


def _decimal(value: int | float | Number) -> Decimal:
    digits = value.digits if isinstance(value, Number) else repr(value)
    try:
        return Decimal(digits)
    except InvalidOperation:  # more of an exponent than anybody has: as good as no end, or nothing
        return Decimal(float(digits))


def _same(one: object, other: object) -> bool:
    """As JSON Schema has it: 1 is 1.0, and is not true."""
    if _is_number(one) and _is_number(other):
        return _decimal(one) == _decimal(other)  # type: ignore[arg-type]
    return type(one) is type(other) and one == other


def _is_of(value: object, types: str | Sequence[str]) -> bool:
    names = [types] if isinstance(types, str) else types
    return any(name in _TYPES and _TYPES[name](value) for name in names)


def _of(kind: Callable[[Any], bool], fits: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """A rule for values of a kind; others have nothing to do with it."""
    return lambda value, limit: not kind(value) or fits(value, limit)


def _count(said: object) -> bool:
    return type(said) is int and said >= 0


def _plain_number(said: object) -> bool:
    return isinstance(said, int | float) and not isinstance(said, bool)


def _scalars(said: object) -> bool:
    return isinstance(said, list) and 1 <= len(said) <= MOST_VALUES and all(map(_scalar, said))


def _scalar(said: object) -> bool:
    return said is None or isinstance(said, str | bool | int | float)


def _types(said: object) -> bool:
    names = [said] if isinstance(said, str) else said
    return (
        isinstance(names, list)
        and names != []
        and all(isinstance(one, str) and one in _TYPES for one in names)
    )


def _shown(value: object) -> str:
    text = write(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


_A_COUNT = (_count, "a whole number from 0")
_A_is_number = (_plain_number, "a number as 1 or 0.5")
# A keyword: whether a value fits what it says; what would be right; and what may be said.
_RULES: Mapping[str, tuple[Callable[[Any, Any], bool], Callable[[Any], str], tuple[Callable[[Any], bool], str]]] = {
    "type": (
        _is_of,
        lambda said: f"of type {said if isinstance(said, str) else ' or '.join(said)}",
        (_types, f"one of {', '.join(_TYPES)}, or a list of these"),
    ),
    "enum": (
        lambda value, said: any(_same(value, one) for one in said),
        lambda said: f"one of {_shown(said)}",
        (_scalars, f"a list of 1 to {MOST_VALUES} texts, numbers, true, false or null"),
    ),
    "const": (_same, _shown, (_scalar, "a text, a number, true, false or null")),
    "minLength": (_of(_TEXT, lambda v, n: len(v) >= n), lambda n: f"a text of at least {n} characters", _A_COUNT),
    "maxLength": (_of(_TEXT, lambda v, n: len(v) <= n), lambda n: f"a text of at most {n} characters", _A_COUNT),
    "minItems": (_of(_LIST, lambda v, n: len(v) >= n), lambda n: f"a list of at least {n}", _A_COUNT),
    "maxItems": (_of(_LIST, lambda v, n: len(v) <= n), lambda n: f"a list of at most {n}", _A_COUNT),
    "minProperties": (_of(_OBJECT, lambda v, n: len(v) >= n), lambda n: f"at least {n} fields", _A_COUNT),
    "maxProperties": (_of(_OBJECT, lambda v, n: len(v) <= n), lambda n: f"at most {n} fields", _A_COUNT),
    "minimum": (
        _of(_is_number, lambda v, n: _decimal(v) >= _decimal(n)), lambda n: f"a number of at least {n}", _A_is_number
    ),
    "maximum": (
        _of(_is_number, lambda v, n: _decimal(v) <= _decimal(n)), lambda n: f"a number of at most {n}", _A_is_number
    ),
    "exclusiveMinimum": (
        _of(_is_number, lambda v, n: _decimal(v) > _decimal(n)), lambda n: f"a number of more than {n}", _A_is_number
    ),
    "exclusiveMaximum": (
        _of(_is_number, lambda v, n: _decimal(v) < _decimal(n)), lambda n: f"a number of less than {n}", _A_is_number
    ),
}  # fmt: skip
_SAID: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **{keyword: may for keyword, (_, _, may) in _RULES.items()},
    "required": (
        lambda said: isinstance(said, list) and all(isinstance(one, str) for one in said),
        "a list of names",
    ),
}
_KNOWN = (*_SAID, "properties", "additionalProperties", "items", *_WORDS)
