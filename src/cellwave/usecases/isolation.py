"""Whether what is deployed keeps to its cells."""

from __future__ import annotations

from collections.abc import Sequence

from cellwave.deploy.backend import BackendStack
from cellwave.deploy.bounds import today
from cellwave.errors import Unavailable
from cellwave.fleet.model import Fleet, Isolation
from cellwave.fleet.select import stacks_named
from cellwave.frozen import Frozen
from cellwave.isolation.model import Bounds, Finding
from cellwave.isolation.rules import findings
from cellwave.usecases.fleet_status import projects_of
from cellwave.usecases.surroundings import Surroundings


class Checked(Frozen):
    """A stack and what the rules are against in it; not `deployed`: there was nothing to look at."""

    stack: str
    deployed: bool
    findings: tuple[Finding, ...]


def check_deployed(around: Surroundings, names: Sequence[str]) -> list[Checked]:
    """Look at the state of these stacks (by their own names or their cells'; none: of all), by the working tree's
    fleet and today's day. BadInput for an unknown name; Unavailable when a state can't be read."""
    fleet, _ = around.configuration()
    wanted = stacks_named(fleet, names or fleet.stacks)
    projects = projects_of(around.project.root, fleet)
    seen = {stack.name: stack for stack in around.backend.stacks() if stack.project in projects}
    return [_check(around, fleet, stack, seen.get(stack)) for stack in wanted]


def _check(around: Surroundings, fleet: Fleet, stack: str, seen: BackendStack | None) -> Checked:
    if seen is not None and seen.trouble:
        raise Unavailable(f"the state of {stack} can't be read: {seen.trouble}")
    if seen is None or not seen.resources:
        return Checked(stack=stack, deployed=False, findings=())
    cell, _, service = stack.rpartition(".")
    isolation = fleet.service(cell, service).isolation or Isolation()
    bounds = Bounds(fleet.place(cell), isolation, lambda: fleet, today(), is_made=True)
    found = findings(around.backend.resources(seen), bounds)
    return Checked(stack=stack, deployed=True, findings=tuple(found))
