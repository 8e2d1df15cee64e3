"""What people read: every text as it was typed, and nothing in it that a terminal would obey.

Everything that a command prints goes through here, so that no text of a user's (a reason, a label, an actor, an
engine's message) is ever taken for markup or for a control sequence.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import shutil
import sys
from datetime import datetime
from typing import Any, TextIO

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from cellwave.text import visible

# Columns. In a narrower window the terminal breaks the lines; tables would leave columns out.
NARROWEST = 80
WHOLE = 26  # a time with its zone, the name of a region or of a rollout
FOLDED = 10  # what a column that folds needs, to be readable
PLAINER = str.maketrans(
    {"·": ".", "◐": "~", "●": "+", "✗": "x", "◑": "<", "↺": "=", "…": "...", "→": "->", "–": "-", "—": "-"}
)


def text(value: str, style: str = "") -> Text:
    """A text on one line, for tables, titles and pictures."""
    return Text(visible(value), style=style)


def table(*headers: str, title: str | None = None, show_lines: bool = False) -> Table:
    """An empty table; fill it with `row`."""
    shown = text(title, "italic") if title is not None else None
    # A long word is broken, never cut off.
    columns = [Column(header, overflow="fold") for header in headers]
    return Table(*columns, title=shown, title_justify="left", show_lines=show_lines)


def row(into: Table, *values: str) -> None:
    """Add a row of texts."""
    into.add_row(*(text(value) for value in values))


def keep_whole(shown: Table, *columns: int) -> None:
    """Break no line in these columns, the shortest first, as far as the others keep room to fold."""
    folding = len(shown.columns)
    room = shutil.get_terminal_size().columns - 3 * folding - 1  # without the frame
    widths = {number: max(map(len, map(str, shown.columns[number].cells)), default=0) for number in columns}
    for number, width in sorted(widths.items(), key=lambda kept: kept[1]):
        if width <= min(WHOLE, room - FOLDED * (folding - 1)):
            shown.columns[number].no_wrap = True
            room, folding = room - width, folding - 1


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
    shown = io.StringIO()
    styled = console(stderr=True).is_terminal
    out = Console(
        file=shown, force_terminal=styled, markup=False, emoji=False, highlight=False, soft_wrap=True
    )
    out.print(Text.assemble(("error:", "bold red"), " ", _indented(what)))
    if hint:
        out.print(Text("  " + _indented(hint), style="dim"))
    with contextlib.suppress(OSError):  # nobody may be there to read it; the exit code still says it
        print(shown.getvalue(), end="", file=sys.stderr, flush=True)


def when(at: float, *, dated: bool = True) -> str:
    """A time (epoch seconds) in this machine's zone, which is named by its offset."""
    local = datetime.fromtimestamp(at).astimezone()
    return local.isoformat(" ", "seconds") if dated else local.timetz().isoformat("seconds")


def show_anything() -> None:
    """Let no output fail for a character that the stream doesn't have, nor lose what a window has no room for.

    A standard stream that is closed becomes /dev/null: no file or socket of ours is to take its number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    columns = shutil.get_terminal_size().columns
    if "COLUMNS" in os.environ or columns < NARROWEST:  # it may say anything
        os.environ["COLUMNS"] = str(max(columns, NARROWEST))
    codecs.register_error("cellwave", _plainer)
    for stream in (sys.stdout, sys.stderr):
        _replacing(stream)


def let_go() -> None:
    """Leave nothing for the interpreter to write when it ends: it would complain in its own words if it can't."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
