"""What came of the demo, as one JSON object and in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cellwave.rollout.state import State


def rollout_report(state: State) -> dict[str, Any]:
    """One rollout. Seconds; a rolled-back one also tells how long the defect was live before it was detected, how
    long the way back took, and how many cells it had touched."""
    report: dict[str, Any] = {
        "release": state.forward.plan.version,
        "outcome": state.outcome,
        "seconds": round(state.ended_at - state.started_at, 1),
    }
    if state.condemned:
        live = min((track.at for track in state.forward.tracks.values()), default=state.condemned_at)
        report |= {
            "detected_after_s": round(state.condemned_at - live, 1),
            "restored_after_s": round(state.ended_at - state.condemned_at, 1),
            "cells_touched": len({name.split(".")[0] for name in state.touched}),
        }
    return report


def attempts(state: State) -> int:
    """How many deployments a rollout ran, both ways."""
    legs = (state.forward, *((state.back,) if state.back else ()))
    return sum(track.attempt for leg in legs for track in leg.tracks.values())


def in_words(states: Sequence[State], summary: dict[str, Any]) -> list[str]:
    """The story, a line each."""
    lines = []
    for state in states:
        report = rollout_report(state)
        version = report["release"]
        if state.outcome == "done":
            lines.append(
                f"{version} went through all {len(state.forward.plan.cells)} cells in {report['seconds']} s."
            )
        elif state.outcome == "rolled_back":
            lines.append(f"{version} stopped in wave {state.forward.current.name}: {state.reason}")
            lines.append(
                f"  seen {report['detected_after_s']} s after going live, undone {report['restored_after_s']} s later; "
                f"it reached {report['cells_touched']} of {summary['cells']} cells and is now held."
            )
        else:
            lines.append(f"{version} {state.outcome}: {state.reason}")
    lines.append(
        f"Customers had {summary['events_accepted']} events accepted meanwhile; {summary['events_lost']} were lost, "
        f"{summary['cross_tenant_reads']} were read by another customer."
    )
    lines.append(f"{summary['deployments']} deployments left {summary['orphans']} orphaned resources.")
    return lines
