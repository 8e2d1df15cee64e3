"""Take a cell's stacks away: which there are, which of them may go, and their going."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from cellwave.deploy.port import Job, Progress, Result
from cellwave.environment import whoami
from cellwave.errors import BadInput, CellwaveError
from cellwave.fleet.model import Fleet, Place, Service
from cellwave.fleet.yamlfile import did_you_mean
from cellwave.rollout.beats import Worker, dead_hosts, holding, new_command
from cellwave.rollout.presence import fence_of
from cellwave.usecases.rollouts import require_free
from cellwave.usecases.surroundings import Surroundings
from cellwave.waves.graph import Graph

# While a stack is worked on, what takes its progress.
Watched = Callable[[str], AbstractContextManager[Callable[[Progress], None]]]


@dataclass(frozen=True)
class Removable:
    """A stack that may be there: the release it runs ("": none is recorded), and where that says it is."""

    stack: str
    release: str
    source: Path
    service: Service
    place: Place


def to_remove(around: Surroundings, name: str, one_way: str) -> list[Removable]:
    """What taking a cell or one of its stacks away would remove, the last of their needs first.

    BadInput for an unknown name, or when one of them must stay: what is stateful goes only for a reason, `one_way`.
    """
    around.ready()
    return choose(_standing_in(around, name.partition(".")[0]), name, one_way)


def remove(
    around: Surroundings,
    chosen: Sequence[Removable],
    one_way: str,
    *,
    tell: Callable[[str], None],
    watched: Watched,
) -> None:
    """Take stacks of one cell away, as `to_remove` chose them; `tell` gets a line for each.

    Meanwhile the cell is leased to this process. Leased when another has it; CellwaveError when the engine fails, or
    when this process was not heard of and another may have taken the cell.
    """
    from cellwave.deploy.pulumi import PulumiDeployer

    cells, me = [chosen[0].place.cell], new_command(whoami(), around.target)
    require_free(around, cells)
    fence = fence_of(around.project, me.id)
    with holding(around.records, cells, me, fence):
        deployer = PulumiDeployer(around.project, around.environment)
        try:
            for standing in chosen:
                job = _job(around, standing, one_way, fence)
                with watched(job.stack) as progress:
                    result = deployer.run(job, progress=progress, aborted=lambda: False)
                tell(_take_in(around, me, job, result, one_way))
        finally:
            deployer.close()


def _standing_in(around: Surroundings, cell: str) -> list[Removable]:
    """The cell's stacks, in the order of their services' needs: those recorded, of whatever release, and those of the
    working tree's fleet, which a literal `pulumi up` may have made. BadInput when the cell is unknown to both."""
    fleet, _ = around.configuration()
    found = {}
    if cell in (known.name for known in fleet.every_cell):
        for service in fleet.services_of(cell):
            found[f"{cell}.{service.name}"] = _standing(fleet, cell, service.name, "", around.project.root)
    for stack, row in around.records.stacks(around.target).items():
        if stack.split(".")[0] == cell and row.release:
            of_release, _ = around.configuration(row.release)
            source = around.store.path(row.release)
            found[stack] = _standing(of_release, cell, stack.split(".")[1], row.release, source)
    if not found:
        names = {known.name for known in fleet.every_cell}
        raise BadInput(f"cell {cell!r}", "there is none of that name", did_you_mean(cell, names, "cells"))
    names_of = {s.service.name: stack for stack, s in found.items()}
    edges = (
        (names_of[need], stack) for stack, s in found.items() for need in s.service.needs if need in names_of
    )
    return [found[stack] for stack in Graph(found, edges).order(list(found).index)]


def _standing(fleet: Fleet, cell: str, service: str, release: str, source: Path) -> Removable:
    return Removable(f"{cell}.{service}", release, source, fleet.service(cell, service), fleet.place(cell))


def choose(there: list[Removable], name: str, one_way: str) -> list[Removable]:
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


def _job(around: Surroundings, standing: Removable, why: str, fence: Path | None) -> Job:
    return Job(
        attempt=f"down:{standing.stack}:{uuid.uuid4()}",
        stack=standing.stack,
        operation="destroy",
        program=str(standing.source / standing.service.program),
        source=str(standing.source),
        release=standing.release,
        stateful=standing.service.stateful,
        one_way=bool(why),
        place=standing.place,
        fence=str(fence or ""),
        dead_hosts=dead_hosts(around.records, around.target),
    )


def _take_in(around: Surroundings, me: Worker, job: Job, result: Result, why: str) -> str:
    """Journal what became of a stack and forget what it ran; in words. CellwaveError as `remove`."""
    done = "; ".join(part for part in (f"{result.outcome} {result.reason}".strip(), why) if part)
    around.note("down", done, job.stack)
    if result.outcome != "succeeded":
        raise CellwaveError(
            f"{job.stack}: {result.outcome} ({result.fault}): {result.reason}",
            hint=f"all of it: cellwave logs {job.stack}",
        )
    if not around.records.forget_stack(job.stack, around.target, me.id):
        raise CellwaveError(
            f"{job.stack}: this command was not heard of for so long that its cell was given to others",
            hint="`cellwave fleet status` tells what is there",
        )
    deleted = result.changes.get("delete", 0)
    said = f"{deleted} deleted" if deleted else "was not there"
    return f"{job.stack}  {said}  {result.seconds:.1f} s"
