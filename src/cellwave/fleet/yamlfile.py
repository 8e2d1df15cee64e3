"""YAML text in, a frozen value out; whatever is wrong is named by file and line. Pure: reads no files."""

from __future__ import annotations

import difflib
import json
import math
import re
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from cellwave.errors import BadInput

M = TypeVar("M", bound=BaseModel)
Path = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"


_ACCOUNT = 'an AWS account id: exactly 12 digits, in quotes ("200000000001")'
_PATTERNS = {
    r"^[0-9]{12}$": _ACCOUNT,
    r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$": "lower-case letters, digits and single hyphens, a letter first",
    r"^[a-z]+(-[a-z]+)+-[0-9]$": "an AWS region, such as us-west-2",
    r"^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$": 'a day, in quotes ("2027-06-30")',
    r"[A-Za-z0-9]": "a text with at least a letter or a digit: not everything can be allowed at once",
}
_NUMBER = "-+.0123456789"
_PLAIN = (  # what YAML 1.2 takes a text without quotes for, by its first character; else it is a text: `on`, `no`
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)", _NUMBER),
    ("float", r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?", _NUMBER),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", _NUMBER),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("timestamp", r"\d{4}-\d\d?-\d\d?(([Tt]|[ \t]+)\d\d?:\d\d:\d\d(\.\d*)?[-+ \t\dZ:]*)?", _NUMBER),
    ("merge", "<<", "<"),
)
# Line ends of YAML 1.1, which libyaml heeds, and characters of YAML 1.2: nobody sees what they are.
_DOUBTFUL = re.compile("[\x85\u2028\u2029]")


class _Loader(getattr(yaml, "CBaseLoader", yaml.BaseLoader)):  # type: ignore[misc]
    """libyaml, with which PyYAML's wheels are built: a tenth of the time that a parser in Python takes."""


for _kind_of, _pattern, _firsts in _PLAIN:
    _Loader.add_implicit_resolver(_TAG + _kind_of, re.compile(rf"({_pattern})\Z"), list(_firsts))


@dataclass(frozen=True)
class Document:
    """A YAML file's content as plain Python values, and the line of every key and list item by its path."""

    file: str
    data: dict[str, Any]
    lines: dict[Path, int]

    def where(self, *path: str | int) -> str:
        """`file:line` of a path; of its nearest written ancestor when the path itself is not in the file."""
        while path not in self.lines:
            path = path[:-1]
        return f"{self.file}:{self.lines[path]}"

    def bad(self, path: Path, found: str, expected: str) -> BadInput:
        """The error to raise for what stands at a path."""
        return BadInput(self.where(*path), found, expected)


def did_you_mean(word: str, known: Iterable[str], what: str) -> str:
    """Advice for a word that is not one of the known: the nearest, and all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    listed = f"known {what}: {', '.join(names)}" if names else f"there are no {what}"
    return f"did you mean {near[0]!r}? ({listed})" if near else listed


def read(text: str, file: str) -> Document:
    """Parse a mapping; BadInput for broken YAML, a duplicate key, an empty file, or another thing."""
    lines: dict[Path, int] = {(): 1}
    if doubtful := _DOUBTFUL.search(text):
        found = f"the character {doubtful[0]!r}, which may be a line's end"
        raise BadInput(f"{file}:{text.count(chr(10), 0, doubtful.start()) + 1}", found, "plain text")
    try:
        root = yaml.compose(text, Loader=_Loader)
        data = None if root is None else _plain(root, (), lines, file)
    except yaml.MarkedYAMLError as error:
        raise _broken(error, file) from None
    except RecursionError:
        raise BadInput(f"{file}:1", "nested without end", "aliases of finished values only") from None
    except ReaderError as error:
        where = f"{file}:{text.encode().count(10, 0, error.position) + 1}"
        raise BadInput(where, f"a character that YAML does not allow: {error.reason}", "plain text") from None
    except (yaml.YAMLError, ValueError) as error:
        raise BadInput(f"{file}:1", f"not YAML: {' '.join(str(error).split())}", "valid YAML 1.2") from None
    if data is None:
        raise BadInput(f"{file}:1", "the file is empty", "a mapping (key: value)")
    if not isinstance(data, dict):
        raise BadInput(f"{file}:1", f"the file holds {_kind(data)}", "a mapping (key: value)")
    return Document(file, data, lines)


def validate(model: type[M], document: Document, data: dict[str, Any] | None = None) -> M:
    """The document (or `data` made of it, paths kept) as a model; its most telling error as BadInput."""
    try:
        return model.model_validate_json(json.dumps(document.data if data is None else data), strict=True)
    except ValidationError as error:
        # A misspelt key is also a missing one: the unknown key says more, so it goes first.
        details = error.errors(include_url=False)
        raise _explain(
            next((d for d in details if d["type"] == "extra_forbidden"), details[0]), model, document
        ) from None


def _broken(error: yaml.MarkedYAMLError, file: str) -> BadInput:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    problem = ", ".join(part.splitlines()[0] for part in (error.context, error.problem) if part)
    return BadInput(f"{file}:{line}", f"broken YAML at column {column}: {problem}", "valid YAML 1.2")


def _plain(node: Node, path: Path, lines: dict[Path, int], file: str) -> Any:
    """The value of what stands at a path, whose line is known, after noting the lines of all below."""
    if isinstance(node, ScalarNode):
        return _scalar(node, f"{file}:{lines[path]}")
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
        return [_plain(item, (*path, index), lines, file) for index, item in enumerate(node.value)]
    items = _items(node, path, lines, file)
    return {key: _plain(value, (*path, key), lines, file) for key, value in items.items()}


def _items(mapping: Node, path: Path, lines: dict[Path, int], file: str) -> dict[str, Node]:
    """The items of a mapping, after noting each key's line (a key merged by `<<` has its mapping's)."""
    found: dict[str, Node] = {}
    merged: list[Node] = []
    for key_node, value in mapping.value:
        line = key_node.start_mark.line + 1
        if key_node.tag == _MERGE:
            merged += value.value if isinstance(value, SequenceNode) else [value]
            continue
        key = _plain(key_node, path, lines, file)
        if not isinstance(key, str):
            raise BadInput(f"{file}:{line}", f"the key {key!r} is {_kind(key)}", "a text as key, in quotes")
        if key in found:
            first = mapping.start_mark.line + 1
            right = f"every key once in the mapping at line {first}"
            raise BadInput(f"{file}:{line}", f"duplicate key {key!r}", right)
        found[key], lines[(*path, key)] = value, line
    for one in merged:
        if not isinstance(one, MappingNode):
            raise ConstructorError(None, None, "only mappings can be merged by <<", one.start_mark)
        for key, value in _items(one, path, {path: lines[path]}, file).items():
            if key not in found:
                found[key], lines[(*path, key)] = value, lines[path]
    return found


def _scalar(node: ScalarNode, where: str) -> Any:
    text, kind = node.value, node.tag.removeprefix(_TAG)
    match kind:
        case "str" | "merge":
            return text
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            digits = text.replace("_", "")
            return int(digits, 0 if digits.lstrip("+-")[1:2] in ("b", "o", "x") else 10)
        case "float":
            number = float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
            if math.isfinite(number):
                return number
            raise BadInput(where, f"found {number}", "a finite number")
    raise BadInput(where, f"found a {kind}", "a text (in quotes), a number, a list or a mapping")


def _explain(detail: ErrorDetails, model: type[BaseModel], document: Document) -> BadInput:
    path, fields = _locate(detail["loc"], model, document)
    name = str(path[-1]) if path else "the file"
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return document.bad(path, f"unknown key {name!r}", did_you_mean(name, fields, "keys"))
    if kind == "missing":
        place = f" in {_dotted(path[:-1])}" if path[:-1] else ""
        return document.bad(path[:-1], f"the key {name!r} is missing{place}", f"{name}: … is required here")
    if kind == "union_tag_not_found":
        return document.bad(
            path, f"the key 'kind' is missing in {_dotted(path)}", "kind: alarm, ratio, quantile or probe"
        )
    if kind == "union_tag_invalid":
        expected = f"one of {context.get('expected_tags')}"
        return document.bad((*path, "kind"), f"kind is {context.get('tag')!r}", expected)
    return document.bad(path, f"{_dotted(path)} is {_shown(detail['input'])}", _expected(detail, name))


def _expected(detail: ErrorDetails, name: str) -> str:
    pattern = str(detail.get("ctx", {}).get("pattern", ""))
    if name == "account":
        return _ACCOUNT
    if pattern in _PATTERNS:
        return _PATTERNS[pattern]
    plain = {
        "string_type": "a text (numbers, true and false in quotes)",
        "model_type": "a mapping (key: value)",
        "dict_type": "a mapping (key: value)",
        "tuple_type": "a list ([…])",
        "float_type": "a number",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "bool_type": "true or false",
    }
    message = re.sub(r"^(Input|Tuple|String|Dictionary) should (be |have )?", "", detail["msg"])
    return plain.get(detail["type"], message)


def _locate(loc: Sequence[str | int], model: type[BaseModel], document: Document) -> tuple[Path, list[str]]:
    """An error's path in the document and the keys its innermost model knows.

    pydantic's own location also holds the names of union members, which nobody wrote: those only narrow the
    model.
    """
    path: Path = ()
    candidates: list[Any] = [model]
    value: Any = document.data
    for position, key in enumerate(loc):
        if key == "[key]":
            break
        last = position == len(loc) - 1
        if not last and not _has(value, key):
            candidates = [c for c in candidates if _tagged(c, str(key))] or candidates
            continue
        path = (*path, key)
        if not last:
            candidates = [below for c in candidates for below in _below(c, key)]
            value = value[key]
    models = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
    return path, sorted({name for m in models for name in m.model_fields})


def _has(value: Any, key: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(key, int) and key < len(value)
    return isinstance(value, dict) and key in value


def _tagged(candidate: Any, tag: str) -> bool:
    if not (isinstance(candidate, type) and issubclass(candidate, BaseModel)):
        return False
    kind = candidate.model_fields.get("kind")
    return candidate.__name__ == tag or (kind is not None and kind.default == tag)


def _below(candidate: Any, key: str | int) -> list[Any]:
    """The types that may stand under a key or index of a type, unions and annotations unfolded."""
    if isinstance(candidate, type) and issubclass(candidate, BaseModel):
        field = candidate.model_fields.get(str(key))
        return _members(field.annotation) if field else []
    arguments = get_args(candidate)
    return _members(arguments[1] if get_origin(candidate) is dict else arguments[0]) if arguments else []


def _members(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [annotation]


def _dotted(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "the file"


def _shown(value: Any) -> str:
    return _kind(value) if isinstance(value, dict | list) or value is None else f"{value!r} ({_kind(value)})"


def _kind(value: Any) -> str:
    names: tuple[tuple[Any, str], ...] = (
        (type(None), "empty"),
        (bool, "true or false"),
        (str, "a text"),
        (int | float, "a number"),
        (dict, "a mapping"),
        (list, "a list"),
    )
    return next(
        (name for kind, name in names if isinstance(value, kind)), f"a {type(value).__name__.lower()}"
    )
