"""`cellwave logs`."""

from __future__ import annotations

from textwrap import indent
from typing import Annotated

import typer

from cellwave.cli.here import here
from cellwave.cli.show import tell, tell_json, when
from cellwave.faults import ADVICE
from cellwave.usecases.logs import log_of


def logs(
    stack: Annotated[str, typer.Argument(help="CELL.SERVICE", metavar="STACK")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show all that the newest attempt at a stack left: what the engine and the program said.

    Attempts that succeeded leave nothing; secrets are hidden. What another host's attempt left is there, and so named.

    Example: [bold]cellwave logs us-west-2.ingest[/]
    """
    left = log_of(here(), stack)
    if as_json:
        tell_json(left.model_dump())
        return
    kind = f" ({left.fault})" if left.fault else ""
    ended = f"{left.outcome}{kind}: {left.reason}" if left.outcome else "it has not ended, or was killed"
    tell(f"{left.stack}  {left.operation} of {left.release[:12] or 'the working tree'}, {when(left.at)}")
    tell(f"attempt {left.attempt}  {ended}")
    said = "\n".join(f"{line.resource}\n{line.message}".strip() for line in left.diagnostics)
    if left.fault:
        tell(f"what mends it: {ADVICE[left.fault]}")
    parts = {"program": left.program, "engine": left.engine, "errors": said, "traceback": left.traceback}
    for title, text in parts.items():
        if text.strip():
            # Indented, so that no line of it looks like one of this command's.
            tell(f"\n{title}:\n{indent(text.strip().expandtabs(4), '  ')}", lines=True)
