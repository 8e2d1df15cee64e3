"""What came of the demo, as one JSON object and in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cellwave.usecases.views import RolloutStory


def rollout_report(rollout: RolloutStory) -> dict[str, Any]:
    """One rollout. Seconds; a rolled-back one also tells how long the defect was live before it was detected, how
    long the way back took, and how many cells it had touched."""
    report: dict[str, Any] = {
        "release": rollout.version,
        "outcome": rollout.outcome,
        "seconds": round(rollout.ended_at - rollout.started_at, 1),
    }
    if rollout.condemned_at:
        report |= {
            "detected_after_s": round(rollout.condemned_at - rollout.first_change_at, 1),
            "restored_after_s": round(rollout.ended_at - rollout.condemned_at, 1),
            "cells_touched": len({name.split(".")[0] for name in rollout.touched}),
        }
    return report


def in_words(rollouts: Sequence[RolloutStory], summary: dict[str, Any]) -> list[str]:
    """The story, a line each."""
    lines = []
    for rollout in rollouts:
        report = rollout_report(rollout)
        version = report["release"]
        if rollout.outcome == "done":
            lines.append(f"{version} went through all {len(rollout.cells)} cells in {report['seconds']} s.")
        elif rollout.outcome == "rolled_back":
            lines.append(f"{version} stopped in wave {rollout.wave}: {rollout.reason}")
            lines.append(
                f"  seen {report['detected_after_s']} s after going live, undone {report['restored_after_s']} s later; "
                f"it reached {report['cells_touched']} of {summary['cells']} cells and is now held."
            )
        else:
            lines.append(f"{version} {rollout.outcome}: {rollout.reason}")
    lines.append(
        f"Customers had {summary['events_accepted']} events accepted meanwhile; {summary['events_lost']} were lost, "
        f"{summary['cross_tenant_reads']} were read by another customer."
    )
    lines.append(f"{summary['deployments']} deployments left {summary['orphans']} orphaned resources.")
    return lines
