"""What a preview may show that speaks against the update. Pure."""

from __future__ import annotations

from cellwave.deploy.checkpoint import Deployment, made_since
from cellwave.deploy.events import Story, name_of
from cellwave.deploy.placed import foreign
from cellwave.deploy.port import Job, Result


def is_guarded(job: Job, deployment: Deployment) -> bool:
    """Whether the update is held to what the preview showed: a stateful service's, where there is something to lose."""
    return job.stateful and not job.one_way and bool(deployment.get("resources"))


def looks_ahead(job: Job, deployment: Deployment) -> bool:
    """Whether there is anything that a preview could show."""
    return job.operation == "up" and (is_guarded(job, deployment) or job.place is not None)


def objection(job: Job, deployment: Deployment, story: Story) -> Result | None:
    """The refusal of an update that would make anything outside of the cell, or lose what a stateful service keeps."""
    reason = ""
    if job.place and (elsewhere := foreign(story.planned, job.place)):
        reason = "; ".join(elsewhere)
    elif is_guarded(job, deployment) and (lost := losses(story, deployment, job.undo_since)):
        reason = f"it would {lost}, and with it what a stateful service keeps; only a one-way release may"
    return Result(outcome="refused", changes=story.changes, reason=reason) if reason else None


def losses(story: Story, deployment: Deployment, undo_since: float | None) -> str:
    """In words, what would be deleted or replaced, without what the attempt that is undone had made itself."""
    own = {r["urn"] for r in deployment.get("resources", ()) if made_since(r, undo_since)}
    steps: dict[str, set[str]] = {}
    for step, urn in story.destroyed:
        if urn not in own:
            steps.setdefault(urn, set()).add(step)
    return ", ".join(
        f"{'delete' if found <= {'delete', 'discard'} else 'replace'} {name_of(urn)}"
        for urn, found in steps.items()
    )
