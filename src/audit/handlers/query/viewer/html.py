"""HTML in which a text is a text: what is to be markup is a `tag`, and everything else is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import groupby
from unicodedata import category

VOID = frozenset({"br", "hr", "input", "link", "meta"})
# Controls, marks of direction, width and language, and ends of line that nobody sees.
_UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp"})


class Html(str):
    """Markup, of this module's making."""

    __slots__ = ()


def tag(name: str, /, *children: str | None, **attributes: str | int | bool | None) -> Html:
    """An element. Attributes are written as Python names them: `class_`, `hx_get`; one that is None or False is left
    out, one that is True has no value. A child that is no Html is a text."""
    said = "".join(_attribute(key, value) for key, value in attributes.items() if value not in (None, False))
    if name in VOID:
        return Html(f"<{name}{said}>")
    return Html(f"<{name}{said}>{together(children)}</{name}>")


def together(children: Iterable[str | None]) -> Html:
    """Elements and texts, one behind the other."""
    return Html("".join(one if isinstance(one, Html) else escape(one) for one in children if one is not None))


def alert(*said: str) -> Html:
    """What is wrong, said at once to whoever can't see it."""
    return tag("p", *said, class_="alert", role="alert", tabindex="-1")


def shown(text: str) -> Html:
    """A text of an event as it is read: what could not be seen in it, or would turn it round, is named by its code."""
    parts: list[str] = [text]
    if not text.isprintable():
        runs = groupby(text, lambda one: category(one) in _UNSEEN and one not in "\n\t")
        parts = [
            tag("span", " ".join(f"U+{ord(one):04X}" for one in run), class_="odd")
            if unseen
            else "".join(run)
            for unseen, run in runs
        ]
    # Isolated, so that it turns nothing round that stands beside it.
    return tag("bdi", *parts)


def _attribute(name: str, value: str | int | bool | None) -> str:
    key = name.rstrip("_").replace("_", "-")
    return f" {key}" if value is True else f' {key}="{escape(str(value))}"'
