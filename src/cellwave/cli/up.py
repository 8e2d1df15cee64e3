"""`cellwave up`."""

from __future__ import annotations

import time
import uuid
from typing import Annotated

import typer

from cellwave.cli.context import Context, here, whoami
from cellwave.cli.show import console, tell, text
from cellwave.deploy.port import Deployer, Job, Progress, Result
from cellwave.errors import BadInput, CellwaveError
from cellwave.fleet.model import Place, Service
from cellwave.rollout.records import StackRow, process_owner
from cellwave.rollout.state import Note


def up(
    cell: Annotated[str, typer.Argument(help="A cell's name; the control plane's is one too.")],
    wanted: Annotated[str | None, typer.Option("--release", help="Default: the working tree.")] = None,
) -> None:
    """Deploy one whole cell: its services in the order of their needs.

    The working tree is frozen as a release first, so that a later rollback can come back to it.

    Example: [bold]cellwave up us-west-2[/]   or   [bold]cellwave up control --release v1[/]
    """
    from cellwave.releases.build import build_release

    context = here()
    release = context.store.get(wanted) if wanted else build_release(context.project, None)
    deploy_cell(context, cell, release.digest)


def deploy_cell(context: Context, cell: str, release: str) -> None:
    """Run every service of a cell from a release (its digest), under a lease."""
    from cellwave.deploy.pulumi import PulumiDeployer
    from cellwave.waves.graph import Graph

    context.ready()
    fleet, _ = context.configuration(release)
    names = [c.name for c in fleet.every_cell]
    if cell not in names:
        raise BadInput(f"cell {cell!r}", "there is none of that name", "one of " + ", ".join(names))
    services = {s.name: s for s in fleet.services_of(cell)}
    graph = Graph(services, ((need, s.name) for s in services.values() for need in s.needs))
    owner = process_owner(whoami())
    context.records.lease([cell], owner)
    deployer = PulumiDeployer(context.project, context.environment)
    try:
        for name in graph.order(list(services).index):
            deploy_service(context, deployer, fleet.place(cell), services[name], release)
    finally:
        deployer.close()
        context.records.end_lease(owner)


def deploy_service(
    context: Context, deployer: Deployer, place: Place, service: Service, release: str
) -> None:
    """One service of a cell; CellwaveError when the engine fails."""
    stack = f"{place.cell}.{service.name}"
    source = context.store.path(release)
    job = Job(
        attempt=f"up:{stack}:{uuid.uuid4()}",
        stack=stack,
        operation="up",
        program=str(source / service.program),
        source=str(source),
        release=release,
        stateful=service.stateful,
        place=place,
    )
    with console(stderr=True).status(text(stack)) as status:

        def progress(event: Progress) -> None:
            status.update(text(f"{stack}  {event.done} done  {event.operation} {event.resource}"))

        result = deployer.run(job, progress=progress, aborted=lambda: False)
    record(context, stack, release, result)
    if result.outcome != "succeeded":
        raise CellwaveError(f"{stack}: {result.outcome}: {result.reason}")
    changes = ", ".join(f"{count} {operation}" for operation, count in sorted(result.changes.items()))
    tell(f"{stack}  {changes or 'no changes'}  {result.seconds:.1f} s")


def record(context: Context, stack: str, release: str, result: Result) -> None:
    """Keep what the stack runs now, and a journal line."""
    said = f"release {release[:12]}: {result.outcome} {result.reason}".strip()
    context.records.note(str(uuid.uuid4()), Note(kind="up", text=said, actor=whoami(), subject=stack))
    if result.outcome == "succeeded":
        context.records.set_stack(StackRow(stack, context.target, release, result.outputs, time.time()))
