"""Whether what is deployed, or would be, keeps to its cells."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from cellwave.deploy.backend import BackendStack
from cellwave.deploy.bounds import today
from cellwave.deploy.port import Deployer
from cellwave.errors import Unavailable
from cellwave.fleet.model import Fleet, Isolation
from cellwave.fleet.select import stacks_named
from cellwave.frozen import Frozen
from cellwave.isolation.model import Bounds, Finding
from cellwave.isolation.rules import findings
from cellwave.release import Release
from cellwave.releases.sources import sources_of
from cellwave.usecases.fleet_status import projects_of
from cellwave.usecases.surroundings import Surroundings
from cellwave.waves.model import Step


class Checked(Frozen):
    """A stack and what the rules are against in it; not `deployed`: there was nothing to look at. `trouble` says why a
    preview could not tell ("": it could)."""

    stack: str
    deployed: bool
    findings: tuple[Finding, ...] = ()
    trouble: str = ""


def check_deployed(around: Surroundings, names: Sequence[str]) -> list[Checked]:
    """Look at the state of these stacks (by their own names or their cells'; none: of all), by the working tree's
    fleet and today's day. BadInput for an unknown name; Unavailable when a state can't be read."""
    fleet, _ = around.configuration()
    wanted = stacks_named(fleet, names or fleet.stacks)
    seen = _there(around, fleet)
    return [_check(around, fleet, stack, seen.get(stack)) for stack in wanted]


def check_preview(around: Surroundings, names: Sequence[str], wanted: str | None = None) -> list[Checked]:
    """Preview a release, or the working tree, which is frozen as one first, on these stacks, by its own fleet; a stack
    that is not there can't be previewed. BadInput for an unknown name or release; Unavailable without an engine."""
    from cellwave.deploy.pulumi import PulumiDeployer
    from cellwave.releases.build import build_release

    release = around.store.get(wanted) if wanted else None
    fleet, _ = around.configuration(release.digest if release else None)
    stacks = stacks_named(fleet, names or fleet.stacks)
    around.ready()
    release = release or build_release(around.project, None, report=around.tell)
    seen, deployer = _there(around, fleet), PulumiDeployer(around.project, around.environment)
    try:
        return [
            _preview(around, deployer, release, stack)
            if stack in seen
            else Checked(stack=stack, deployed=False)
            for stack in stacks
        ]
    finally:
        deployer.close()


def _preview(around: Surroundings, deployer: Deployer, release: Release, stack: str) -> Checked:
    from cellwave.rollout.effects import job_of

    cell, _, service = stack.rpartition(".")
    view = sources_of(around.store.path(release.digest)).view(stack) if release.views else None
    step = Step(cell=cell, service=service, release=release.digest, inputs=view.digest if view else "")
    around.tell(f"previewing {stack}")
    job = job_of(around.store, step, f"isolation:{stack}:{uuid.uuid4()}", "preview")
    result = deployer.run(job, progress=lambda _: None, aborted=lambda: False)
    # What it is refused for else, the loss of data, is none of this.
    could = result.outcome in ("succeeded", "refused")
    trouble = "" if could else result.reason
    return Checked(stack=stack, deployed=True, findings=result.findings, trouble=trouble)


def _there(around: Surroundings, fleet: Fleet) -> dict[str, BackendStack]:
    """The fleet's stacks that the state backend has; other projects may share it."""
    projects = projects_of(around.project.root, fleet)
    return {stack.name: stack for stack in around.backend.stacks() if stack.project in projects}


def _check(around: Surroundings, fleet: Fleet, stack: str, seen: BackendStack | None) -> Checked:
    if seen is not None and seen.trouble:
        raise Unavailable(f"the state of {stack} can't be read: {seen.trouble}")
    if seen is None or not seen.resources:
        return Checked(stack=stack, deployed=False)
    cell, _, service = stack.rpartition(".")
    isolation = fleet.service(cell, service).isolation or Isolation()
    bounds = Bounds(fleet.place(cell), isolation, lambda: fleet, today(), is_made=True)
    found = findings(around.backend.resources(seen), bounds)
    return Checked(stack=stack, deployed=True, findings=tuple(found))
