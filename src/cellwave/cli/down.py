"""`cellwave down`."""

from __future__ import annotations

import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cellwave.cli.context import Context, here, whoami
from cellwave.cli.show import say, tell
from cellwave.cli.up import run_shown
from cellwave.deploy.port import Deployer, Job
from cellwave.errors import BadInput, CellwaveError
from cellwave.fleet.model import Fleet, Place, Service
from cellwave.fleet.yamlfile import did_you_mean
from cellwave.rollout.records import process_owner
from cellwave.rollout.state import Note
from cellwave.waves.graph import Graph


@dataclass(frozen=True)
class Standing:
    """A stack that may be there: the release it runs ("": none is recorded), and where that says it is."""

    stack: str
    release: str
    source: Path
    service: Service
    place: Place


def down(
    name: Annotated[str, typer.Argument(metavar="CELL[.SERVICE]")],
    one_way: Annotated[
        str,
        typer.Option(
            "--one-way", metavar="REASON", help="Take what a stateful service keeps along, and why."
        ),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take a cell's stacks away, or one of them: the last of its services' needs first.

    What a stateful service keeps goes only with --one-way. A service that another one needs stays.

    Example: [bold]cellwave down eu-west-1.query[/]   or   [bold]cellwave down eu-west-1 --one-way "it has moved"[/]
    """
    context = here()
    context.ready()
    cell = name.partition(".")[0]
    there = standing(context, cell)
    chosen = choose(there, name, one_way)
    if not yes and not confirmed(chosen):
        say("nothing was changed")
        raise typer.Exit(1)
    owner = process_owner(whoami())
    context.records.lease([cell], owner)
    from cellwave.deploy.pulumi import PulumiDeployer

    deployer = PulumiDeployer(context.project, context.environment)
    try:
        for stack in chosen:
            take_away(context, deployer, stack, one_way)
    finally:
        deployer.close()
        context.records.end_lease(owner)


def standing(context: Context, cell: str) -> list[Standing]:
    """The cell's stacks, in the order of their services' needs: those recorded, of whatever release, and those of the
    working tree's fleet, which a literal `pulumi up` may have made. BadInput when the cell is unknown to both."""
    fleet, _ = context.configuration()
    found = {}
    if cell in (known.name for known in fleet.every_cell):
        for service in fleet.services_of(cell):
            found[f"{cell}.{service.name}"] = _standing(fleet, cell, service.name, "", context.project.root)
    for stack, row in context.records.stacks(context.target).items():
        if stack.split(".")[0] == cell:
            of_release, _ = context.configuration(row.release)
            source = context.store.path(row.release)
            found[stack] = _standing(of_release, cell, stack.split(".")[1], row.release, source)
    if not found:
        names = {known.name for known in fleet.every_cell}
        raise BadInput(f"cell {cell!r}", "there is none of that name", did_you_mean(cell, names, "cells"))
    names_of = {s.service.name: stack for stack, s in found.items()}
    edges = (
        (names_of[need], stack) for stack, s in found.items() for need in s.service.needs if need in names_of
    )
    return [found[stack] for stack in Graph(found, edges).order(list(found).index)]


def _standing(fleet: Fleet, cell: str, service: str, release: str, source: Path) -> Standing:
    return Standing(f"{cell}.{service}", release, source, fleet.service(cell, service), fleet.place(cell))


def choose(there: list[Standing], name: str, one_way: str) -> list[Standing]:
    """The stacks to take away, the last of their needs first; BadInput when one of them must stay. Pure."""
    chosen = [s for s in reversed(there) if name in (s.stack, s.place.cell)]
    if not chosen:
        stacks = [s.stack for s in there]
        raise BadInput(f"stack {name!r}", "there is none of that name", did_you_mean(name, stacks, "stacks"))
    going = {s.service.name for s in chosen}
    for other in there:
        if other.release and other not in chosen and (needed := sorted(going & set(other.service.needs))):
            found = f"{other.stack} needs {', '.join(needed)} and is still there"
            raise BadInput(f"stack {name}", found, f"`cellwave down {other.stack}` first")
    if keeping := [s.stack for s in chosen if s.service.stateful and not one_way]:
        found = f"{', '.join(keeping)} is stateful: what it keeps would be gone"
        raise BadInput(name, found, 'a stack without data, or --one-way "why" when nobody needs it any more')
    return chosen


def confirmed(chosen: list[Standing]) -> bool:
    """Whether a person at the terminal says yes; BadInput where nobody can be asked."""
    stacks = ", ".join(s.stack for s in chosen)
    if not sys.stdin.isatty():
        raise BadInput(stacks, "this would take it away, and nobody can be asked here", "--yes")
    return typer.confirm(f"Take {stacks} away?", err=True)


def take_away(context: Context, deployer: Deployer, standing: Standing, why: str) -> None:
    """Destroy one stack and forget what it ran; CellwaveError when the engine fails."""
    stack = standing.stack
    job = Job(
        attempt=f"down:{stack}:{uuid.uuid4()}",
        stack=stack,
        operation="destroy",
        program=str(standing.source / standing.service.program),
        source=str(standing.source),
        release=standing.release,
        stateful=standing.service.stateful,
        one_way=bool(why),
        place=standing.place,
    )
    begun = time.monotonic()
    result = run_shown(deployer, job)
    done = "; ".join(part for part in (f"{result.outcome} {result.reason}".strip(), why) if part)
    context.records.note(str(uuid.uuid4()), Note(kind="down", text=done, actor=whoami(), subject=stack))
    if result.outcome != "succeeded":
        raise CellwaveError(
            f"{stack}: {result.outcome}: {result.reason}", hint=f"all of it: cellwave logs {stack}"
        )
    context.records.forget_stack(stack, context.target)
    deleted = result.changes.get("delete", 0)
    said = f"{deleted} deleted" if deleted else "was not there"
    tell(f"{stack}  {said}  {time.monotonic() - begun:.1f} s")
