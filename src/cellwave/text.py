"""Texts of users' and of engines', made safe to show. Pure."""

from __future__ import annotations

import re
import unicodedata

# Control, format (bidi overrides, zero widths), surrogates, line and paragraph separators.
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
SECRET = re.compile(
    r"(?i)((?:secret|password|passphrase|token|authorization|signature|credential|api[_-]?key)\w*[\"']?\s*[:=]\s*)"
    r"[\"']?(?:(?:Bearer|Basic)\s+)?[^\s\"',}&]+"
)
USERINFO = re.compile(r"://[^/@\s]+@")
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


def counted(number: int, what: str) -> str:
    """So many of something, as "1 cell" or "10,000 cells"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def storable(text: str) -> str:
    """The text as every database can keep it: PostgreSQL takes no NUL, which is spelt out."""
    return text.replace("\0", "\\x00")


def redact(text: str) -> str:
    """The text without anything that follows a word for a secret, and without a URL's user and password."""
    return USERINFO.sub("://[secret]@", SECRET.sub(r"\1[secret]", text))
