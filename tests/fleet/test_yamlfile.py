"""YAML text becomes a frozen value, or an error that names file and line."""

from __future__ import annotations

import pytest
from pydantic import Field

from cellwave.errors import BadInput
from cellwave.fleet.yamlfile import did_you_mean, read, validate
from cellwave.frozen import Frozen


class Leaf(Frozen):
    """A value with one field of each kind."""

    name: str
    size: int = 1
    share: float = 1.0
    on: bool = False


class Tree(Frozen):
    """A value that holds others in each way."""

    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = ()
    by_name: dict[str, Leaf] = {}
    strict: int = Field(default=0, ge=0)


def refused(text: str) -> BadInput:
    """The error that a Tree of this text gives."""
    with pytest.raises(BadInput) as caught:
        validate(Tree, read(text, "t.yaml"))
    return caught.value


def test_lines_of_nested_keys_and_items_are_known() -> None:
    """Every key and every list item has its line; what is not written has that of its nearest ancestor."""
    document = read("leaf:\n  name: a\nleaves:\n  - name: b\n  - {name: c,\n     size: 2}\n", "t.yaml")
    assert document.where("leaf", "name") == "t.yaml:2"
    assert document.where("leaves", 1) == "t.yaml:5"
    assert document.where("leaves", 1, "size") == "t.yaml:6"
    assert document.where("leaves", 0, "size") == "t.yaml:4"
    assert document.where("nowhere", "at", "all") == "t.yaml:1"


def test_anchors_and_merged_keys_are_resolved() -> None:
    """An alias stands for its anchor's value, and `<<` merges a mapping into another, which may have merged others."""
    text = "leaf: &one {name: a, size: 3, on: &yes true}\nby_name:\n  b:\n    <<: *one\n    name: b\n    on: *yes\n"
    tree = validate(Tree, read(text, "t.yaml"))
    assert tree.by_name["b"] == Leaf(name="b", size=3, on=True)
    text = "a: &a {x: 1, y: 1}\nb: &b\n  <<: *a\n  y: 2\nc: {<<: [{y: 3, z: 3}, *b]}\n"
    document = read(text, "t.yaml")
    assert document.data["c"] == {"y": 3, "z": 3, "x": 1}
    assert document.where("c", "x") == "t.yaml:5"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("True", True),
        ("017", 17),
        ("0o17", 15),
        ("-0x1F", -31),
        ("1_000", 1000),
        ("12:30:00", "12:30:00"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.2.3", "1.2.3"),
        ("null", None),
        ("~", None),
        ("'~'", "~"),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
        ("=", "="),
    ],
)
def test_a_text_without_quotes_is_what_yaml_1_2_takes_it_for(text: str, value: object) -> None:
    """Numbers, true and false, and nothing; whatever else older versions saw in a text is a text."""
    found = read(f"a: {text}\n", "t.yaml").data["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "where", "found", "expected"),
    [
        ("", "t.yaml:1", "the file is empty", "a mapping"),
        ("# only a comment\n", "t.yaml:1", "the file is empty", "a mapping"),
        ("- a\n", "t.yaml:1", "the file holds a list", "a mapping"),
        ("just words\n", "t.yaml:1", "the file holds a text", "a mapping"),
        ("leaf: {name: a\nstrict: 1\n", "t.yaml:", "broken YAML at column", "valid YAML"),
        ("leaf:\n\tname: a\n", "t.yaml:2", "broken YAML at column 1", "valid YAML"),
        ("leaf: 'a\n", "t.yaml:", "broken YAML", "valid YAML"),
        ("strict: 1\n---\nstrict: 2\n", "t.yaml:", "single document", "valid YAML"),
        ("strict: 1\n\nstrict: 2\n", "t.yaml:3", "duplicate key 'strict'", "once"),
        (
            "leaf:\n  name: a\n  name: b\n",
            "t.yaml:3",
            "duplicate key 'name'",
            "once in the mapping at line 2",
        ),
        ("leaf: *gone\n", "t.yaml:1", "broken YAML", "valid YAML"),
        ("1: a\n", "t.yaml:1", "the key 1 is a number", "a text as key"),
        ("strict: .nan\n", "t.yaml:1", "found nan", "a finite number"),
        ("leaf: {name: 2026-01-01}\n", "t.yaml:1", "found a ", "a text (in quotes)"),
        ("leaf: {name: !odd a}\n", "t.yaml:1", "found a ", "a text (in quotes)"),
        ("strict: 1\nleaf: \x00", "t.yaml:2", "a character that YAML does not allow", "plain text"),
        ("&me\nleaf: *me\n", "t.yaml:1", "nested without end", "finished values"),
        ("leaf: " + 500 * "[" + 500 * "]", "t.yaml:1", "nested without end", "finished values"),
        ("leaf: " + 5000 * "[", "t.yaml:1", "maximum nesting depth", "valid YAML"),
        ("strict: 1\nleaf: {name: a\u2028}\n", "t.yaml:2", "the character '\\u2028'", "plain text"),
        ("leaf: {<<: [a]}\n", "t.yaml:1", "only mappings can be merged", "valid YAML"),
    ],
)
def test_text_that_is_no_mapping_is_refused(text: str, where: str, found: str, expected: str) -> None:
    """Broken, empty, repeated or strange YAML: where it is, what was found, what would be right."""
    error = refused(text)
    assert error.where.startswith(where)
    assert found in error.found
    assert expected in error.expected


@pytest.mark.parametrize(
    ("text", "where", "found", "expected"),
    [
        ("leef: {name: a}\n", "t.yaml:1", "unknown key 'leef'", "did you mean 'leaf'?"),
        (
            "leaf:\n  nme: a\n",
            "t.yaml:2",
            "unknown key 'nme'",
            "did you mean 'name'? (known keys: name, on, s",
        ),
        (
            "by_name:\n  x:\n    name: a\n    sise: 2\n",
            "t.yaml:4",
            "unknown key 'sise'",
            "did you mean 'size'?",
        ),
        (
            "strict: 0\nleaves:\n  - name: a\n  - size: 2\n",
            "t.yaml:4",
            "'name' is missing in leaves[1]",
            "name",
        ),
        ("leaf: {name: 5}\n", "t.yaml:1", "leaf.name is 5 (a number)", "a text"),
        ("leaf: {name: a, size: '5'}\n", "t.yaml:1", "leaf.size is '5' (a text)", "a whole number"),
        ("leaf: {name: a, size: 1.5}\n", "t.yaml:1", "leaf.size is 1.5 (a number)", "a whole number"),
        ("leaf: {name: a, share: much}\n", "t.yaml:1", "leaf.share is 'much' (a text)", "a number"),
        ("leaf: {name: a, on: yes}\n", "t.yaml:1", "leaf.on is 'yes' (a text)", "true or false"),
        ("leaf: {name: }\n", "t.yaml:1", "leaf.name is empty", "a text"),
        ("leaf: []\n", "t.yaml:1", "leaf is a list", "a mapping"),
        ("leaves: {name: a}\n", "t.yaml:1", "leaves is a mapping", "a list"),
        ("by_name: [a]\n", "t.yaml:1", "by_name is a list", "a mapping"),
        ("\nstrict: -1\n", "t.yaml:2", "strict is -1 (a number)", "greater than or equal to 0"),
    ],
)
def test_content_that_does_not_fit_is_refused(text: str, where: str, found: str, expected: str) -> None:
    """Unknown and missing keys and wrong types: where, what was found, what would be right."""
    error = refused(text)
    assert (error.where, error.exit_code) == (where, 2)
    assert found in error.found
    assert expected in error.expected


def test_a_misspelt_key_is_named_rather_than_the_one_it_leaves_missing() -> None:
    """`nme` for `name` gives two errors; the one that says what to change is told."""
    assert "did you mean 'name'" in refused("leaves:\n  - {size: x}\n  - {nme: a}\n").expected


def test_advice_names_the_nearest_and_all() -> None:
    """An unknown word is answered with the nearest known one and with all of them."""
    assert did_you_mean("us-west2", ["us-west-2", "eu"], "cells") == (
        "did you mean 'us-west-2'? (known cells: eu, us-west-2)"
    )
    assert did_you_mean("zzz", ["a"], "cells") == "known cells: a"
    assert did_you_mean("zzz", [], "cells") == "there are no cells"
