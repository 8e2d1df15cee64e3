"""Texts of users' and of engines', made safe to show. Pure."""

from __future__ import annotations

import unicodedata

# Control, format (bidi overrides, zero widths), surrogates, line and paragraph separators.
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
JOINERS = "\u200c\u200d"  # words of some languages need them, and they change nothing else


def visible(text: str, *, lines: bool = False) -> str:
    """The text with what can't be seen spelt out, such as `\\x1b` or `\\u202e`; `lines` keeps line ends."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char
        if unicodedata.category(char) not in UNSEEN or char in JOINERS or (lines and char == "\n")
        else char.encode("unicode_escape").decode()
        for char in text
    )
