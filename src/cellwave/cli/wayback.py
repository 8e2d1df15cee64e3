"""What the way back of an ended rollout takes away, and whether it may."""

from __future__ import annotations

import sys
from collections.abc import Collection

import typer

from cellwave.cli.show import say
from cellwave.errors import BadInput
from cellwave.rollout.state import State
from cellwave.text import visible
from cellwave.waves.planner import data_at_risk, make_rollback


def losses(ended: State, undone: Collection[str]) -> list[str]:
    """What is gone when these deployments are taken back, in words: whole services, and data. Pure."""
    plan = ended.forward.plan
    touched = [step.deployment for step in plan.steps if step.deployment in undone]
    cells: dict[str, list[str]] = {}
    for step in make_rollback(plan, touched).steps:
        if step.removes:
            cells.setdefault(step.service, []).append(step.cell)
    whole = [f"takes {name} away in {', '.join(sorted(where))}" for name, where in sorted(cells.items())]
    return [*(f"{line}: nothing ran there before" for line in whole), *data_at_risk(plan, touched)]


def confirm_losses(name: str, lost: list[str]) -> None:
    """Ask the person at the terminal; Exit when they say no, BadInput where nobody can be asked."""
    said = "; ".join(lost)
    if not sys.stdin.isatty():
        raise BadInput(f"the way back of {name}", f"it {said}, and nobody can be asked here", "--yes")
    if not typer.confirm(visible(f"The way back of {name} {said}. Go on?"), err=True):
        say("nothing was changed")
        raise typer.Exit(1)
