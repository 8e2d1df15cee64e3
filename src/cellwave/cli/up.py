"""`cellwave up`."""

from __future__ import annotations

import time
import uuid
from typing import Annotated

import typer

from cellwave.cli.context import Context, here, whoami
from cellwave.cli.show import console, say, tell, text
from cellwave.deploy.port import Deployer, Job, Progress, Result
from cellwave.errors import BadInput, CellwaveError
from cellwave.fleet.model import Place, Service
from cellwave.fleet.yamlfile import did_you_mean
from cellwave.rollout.decide import changes_in_words
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
    release = context.store.get(wanted) if wanted else None
    fleet, _ = context.configuration(release.digest if release else None)
    names = [c.name for c in fleet.every_cell]
    if cell not in names:
        raise BadInput(f"cell {cell!r}", "there is none of that name", did_you_mean(cell, names, "cells"))
    context.ready()
    release = release or build_release(context.project, None, report=say)
    deploy_cell(context, cell, release.digest)


def deploy_cell(context: Context, cell: str, release: str) -> None:
    """Run every service of a cell, which the release (its digest) has, under a lease."""
    from cellwave.deploy.pulumi import PulumiDeployer
    from cellwave.waves.graph import Graph

    fleet, _ = context.configuration(release)
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
    begun = time.time()
    job = Job(
        attempt=f"up:{stack}:{uuid.uuid4()}",
        stack=stack,
        operation="up",
        program=str(source / service.program),
        source=str(source),
        release=release,
        stateful=service.stateful,
        one_way=bool(service.one_way),
        place=place,
    )
    result = run_shown(deployer, job)
    known = stack in context.records.stacks(context.target)
    record(context, stack, release, result)
    if result.outcome != "succeeded":
        undone = "" if known or (result.transient and not result.changes) else clear(deployer, job, begun)
        raise CellwaveError(
            f"{stack}: {result.outcome}: {result.reason}{undone}", hint=f"all of it: cellwave logs {stack}"
        )
    changes = changes_in_words(result.changes, result.changed_outputs)
    tell(f"{stack}  {changes}  {result.seconds:.1f} s")


def run_shown(deployer: Deployer, job: Job) -> Result:
    """Run a job to its end, and show a person at the terminal what it does."""
    with console(stderr=True).status(text(job.stack)) as status:

        def progress(event: Progress) -> None:
            status.update(text(f"{job.stack}  {event.done} done  {event.operation} {event.resource}"))

        return deployer.run(job, progress=progress, aborted=lambda: False)


def clear(deployer: Deployer, failed: Job, begun: float) -> str:
    """Take a stack away whose first deployment, begun at `begun` (epoch seconds), failed, and say so.

    What a stateful service may keep already stays, and so does what was there before, by whatever means.
    """
    if failed.stateful:
        return f"; what was made of {failed.stack} stays: it is stateful"
    attempt = f"{failed.attempt}:clear"
    job = failed.model_copy(update={"attempt": attempt, "operation": "destroy", "undo_since": begun})
    result = deployer.run(job, progress=lambda _: None, aborted=lambda: False)
    if result.outcome == "refused":
        return f"; {result.reason}"
    if result.outcome != "succeeded":
        return f"; taking away what was made of it {result.outcome} too: {result.reason}"
    return "; nothing ran there before, so what was made of it was taken away again"


def record(context: Context, stack: str, release: str, result: Result) -> None:
    """Keep what the stack runs now, and a journal line."""
    said = f"release {release[:12]}: {result.outcome} {result.reason}".strip()
    context.records.note(str(uuid.uuid4()), Note(kind="up", text=said, actor=whoami(), subject=stack))
    if result.outcome == "succeeded":
        context.records.set_stack(StackRow(stack, context.target, release, result.outputs, time.time()))
