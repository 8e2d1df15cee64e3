"""What the way back of an ended rollout takes away, and whether it may."""

from __future__ import annotations

import sys
from collections.abc import Collection

import typer

from cellwave.cli.show import say
from cellwave.errors import BadInput
from cellwave.text import visible


def confirm_losses(name: str, lost: Collection[str]) -> None:
    """Ask the person at the terminal; Exit when they say no, BadInput where nobody can be asked."""
    said = "; ".join(lost)
    if not sys.stdin.isatty():
        raise BadInput(f"the way back of {name}", f"it {said}, and nobody can be asked here", "--yes")
    if not typer.confirm(visible(f"The way back of {name} {said}. Go on?"), err=True):
        say("nothing was changed")
        raise typer.Exit(1)
