"""Put a release into one cell, and what both that and taking it away share: the cell's lease and the engine."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from cellwave.deploy.port import Deployer, Job, Progress, Result
from cellwave.errors import BadInput, CellwaveError
from cellwave.fleet.model import Place, Service
from cellwave.fleet.yamlfile import did_you_mean
from cellwave.rollout.decide import changes_in_words
from cellwave.rollout.records import StackRow, process_owner
from cellwave.usecases.surroundings import Surroundings, whoami

# While a stack is worked on, what takes its progress.
Watched = Callable[[str], AbstractContextManager[Callable[[Progress], None]]]


def unwatched(_stack: str) -> AbstractContextManager[Callable[[Progress], None]]:
    """Nobody looks on."""
    return nullcontext(lambda _: None)


def deploy(
    around: Surroundings,
    cell: str,
    wanted: str | None,
    *,
    tell: Callable[[str], None],
    watched: Watched = unwatched,
) -> None:
    """Deploy one whole cell from a release (default: the working tree, which is frozen as one first).

    BadInput for an unknown cell or release; else as `deploy_cell`.
    """
    from cellwave.releases.build import build_release

    release = around.store.get(wanted) if wanted else None
    fleet, _ = around.configuration(release.digest if release else None)
    names = [c.name for c in fleet.every_cell]
    if cell not in names:
        raise BadInput(f"cell {cell!r}", "there is none of that name", did_you_mean(cell, names, "cells"))
    around.ready()
    release = release or build_release(around.project, None, report=around.tell)
    deploy_cell(around, cell, release.digest, tell=tell, watched=watched)


def deploy_cell(
    around: Surroundings,
    cell: str,
    release: str,
    *,
    tell: Callable[[str], None],
    watched: Watched = unwatched,
) -> None:
    """Run every service of a cell, which the release (its digest) has, in the order of their needs.

    `tell` gets a line for each. Leased when another has the cell, CellwaveError when the engine fails.
    """
    from cellwave.waves.graph import Graph

    fleet, _ = around.configuration(release)
    services = {s.name: s for s in fleet.services_of(cell)}
    graph = Graph(services, ((need, s.name) for s in services.values() for need in s.needs))
    with engine_on(around, cell) as deployer:
        for name in graph.order(list(services).index):
            job = _job(around, fleet.place(cell), services[name], release)
            tell(_deploy_service(around, deployer, job, watched))


@contextmanager
def engine_on(around: Surroundings, cell: str) -> Iterator[Deployer]:
    """A deployer, and meanwhile a lease on the cell that is this process's."""
    from cellwave.deploy.pulumi import PulumiDeployer

    owner = process_owner(whoami())
    around.records.lease([cell], owner)
    deployer = PulumiDeployer(around.project, around.environment)
    try:
        yield deployer
    finally:
        deployer.close()
        around.records.end_lease(owner)


def run_watched(deployer: Deployer, job: Job, watched: Watched) -> Result:
    """Run a job to its end, and let who looks on see what it does."""
    with watched(job.stack) as progress:
        return deployer.run(job, progress=progress, aborted=lambda: False)


def _job(around: Surroundings, place: Place, service: Service, release: str) -> Job:
    stack = f"{place.cell}.{service.name}"
    source = around.store.path(release)
    return Job(
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


def _deploy_service(around: Surroundings, deployer: Deployer, job: Job, watched: Watched) -> str:
    """One service of a cell, and what it came to in words; CellwaveError when the engine fails."""
    stack, begun = job.stack, time.time()
    result = run_watched(deployer, job, watched)
    known = stack in around.records.stacks(around.target)
    _record(around, stack, job.release, result)
    if result.outcome != "succeeded":
        undone = "" if known or (result.transient and not result.changes) else _clear(deployer, job, begun)
        raise CellwaveError(
            f"{stack}: {result.outcome}: {result.reason}{undone}", hint=f"all of it: cellwave logs {stack}"
        )
    return f"{stack}  {changes_in_words(result.changes, result.changed_outputs)}  {result.seconds:.1f} s"


def _clear(deployer: Deployer, failed: Job, begun: float) -> str:
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


def _record(around: Surroundings, stack: str, release: str, result: Result) -> None:
    """Keep what the stack runs now, and a journal line."""
    around.note("up", f"release {release[:12]}: {result.outcome} {result.reason}".strip(), stack)
    if result.outcome == "succeeded":
        around.records.set_stack(StackRow(stack, around.target, release, result.outputs, time.time()))
