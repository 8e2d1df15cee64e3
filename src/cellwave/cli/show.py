"""What people read: every text as it was typed, and nothing in it that a terminal would obey.

Everything that a command prints goes through here, so that no text of a user's (a reason, a label, an actor, an
engine's message) is ever taken for markup or for a control sequence.
"""

from __future__ import annotations

import codecs
import json
import sys
from datetime import datetime
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cellwave.text import visible

PLAINER = str.maketrans(
    {"·": ".", "◐": "~", "●": "+", "✗": "x", "◑": "<", "↺": "=", "…": "...", "→": "->", "–": "-", "—": "-"}
)


def text(value: str, style: str = "") -> Text:
    """A text on one line, for tables, titles and pictures."""
    return Text(visible(value), style=style)


def table(*headers: str, title: str | None = None, show_lines: bool = False) -> Table:
    """An empty table; fill it with `row`."""
    shown = text(title, "italic") if title is not None else None
    return Table(*headers, title=shown, title_justify="left", show_lines=show_lines)


def row(into: Table, *values: str) -> None:
    """Add a row of texts."""
    into.add_row(*(text(value) for value in values))


def console(*, stderr: bool = False) -> Console:
    """Where pictures and tables are drawn."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def tell(line: str, *, lines: bool = False) -> None:
    """A line of a command's output proper."""
    print(visible(line, lines=lines), flush=True)


def tell_json(value: Any) -> None:
    """A line of JSON (ASCII, whatever the terminal can show)."""
    print(json.dumps(value), flush=True)


def say(line: str) -> None:
    """Tell a person something beside a command's output proper; line ends at its beginning are kept."""
    body = line.lstrip("\n")
    print("\n" * (len(line) - len(body)) + visible(body), file=sys.stderr, flush=True)


def fail(what: str, hint: str) -> None:
    """Print an error; further lines of it are indented, so that none looks like a command's own."""
    out = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)
    out.print(Text.assemble(("error:", "bold red"), " ", _indented(what)))
    if hint:
        out.print(Text("  " + _indented(hint), style="dim"))


def when(at: float, *, dated: bool = True) -> str:
    """A time (epoch seconds) in this machine's zone, which is named by its offset."""
    local = datetime.fromtimestamp(at).astimezone()
    return local.isoformat(" ", "seconds") if dated else local.timetz().isoformat("seconds")


def show_anything() -> None:
    """Let no output fail for a character that the stream's encoding doesn't have (or that is none)."""
    codecs.register_error("cellwave", _plainer)
    for stream in (sys.stdout, sys.stderr):
        _replacing(stream)


def _replacing(stream: TextIO | None) -> None:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="cellwave")


def _plainer(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = error.object[error.start : error.end].translate(PLAINER)
    return bad.encode("ascii", "backslashreplace").decode(), error.end


def _indented(message: str) -> str:
    return "\n  ".join(part.rstrip() for part in visible(message, lines=True).strip("\n").split("\n"))
