"""What a preview may show that speaks against the update. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cellwave.deploy.checkpoint import Deployment, made_since
from cellwave.deploy.events import Story
from cellwave.deploy.port import Job, Result
from cellwave.isolation.model import Bounds, Finding
from cellwave.isolation.rules import findings
from cellwave.states import name_of

MOST = 5  # findings that a person reads in a line


def is_guarded(job: Job, deployment: Deployment) -> bool:
    """Whether the update is held to what the preview showed: a stateful service's, where there is something to lose."""
    return job.stateful and not job.one_way and bool(deployment.get("resources"))


def looks_ahead(job: Job, deployment: Deployment) -> bool:
    """Whether there is anything that a preview could show."""
    speaks = is_guarded(job, deployment) or job.place is not None or job.held_to is not None
    return job.operation == "up" and speaks


def objection(job: Job, deployment: Deployment, story: Story, bounds: Bounds | None) -> Result | None:
    """The refusal of an update that would make anything outside of the cell or against its isolation, lose what a
    stateful service keeps, or take away what an earlier preview had left."""
    reason, found = "", findings(story.planned, bounds) if bounds else []
    if found:
        reason = told(found)
    elif is_guarded(job, deployment) and (lost := losses(story, deployment, job.undo_since)):
        reason = f"it would {lost}, and with it what a stateful service keeps; only a one-way release may"
    elif job.held_to is not None and (more := losses(story, deployment, None, job.held_to)):
        reason = f"it would {more}, which the preview before its wave had not shown"
    if not reason:
        return None
    return Result(outcome="refused", changes=story.changes, reason=reason, findings=tuple(found))


def told(found: Sequence[Finding]) -> str:
    """Findings as the reason of what they stop, the first of them in words."""
    more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
    return "; ".join([*(finding.words for finding in found[:MOST]), *more])


def losses(
    story: Story, deployment: Deployment, undo_since: float | None, known: Collection[str] = ()
) -> str:
    """In words, what would be deleted or replaced, without what is `known` to be (URNs), and what the attempt that is
    undone had made itself."""
    own = {r["urn"] for r in deployment.get("resources", ()) if made_since(r, undo_since)} | set(known)
    steps: dict[str, set[str]] = {}
    for step, urn in story.destroyed:
        if urn not in own:
            steps.setdefault(urn, set()).add(step)
    return ", ".join(
        f"{'delete' if found <= {'delete', 'discard'} else 'replace'} {name_of(urn)}"
        for urn, found in steps.items()
    )
