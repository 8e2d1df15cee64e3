"""What the rules of isolation are told of a job."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

from cellwave.deploy.port import Job
from cellwave.fleet.files import FOLDER
from cellwave.fleet.model import Fleet
from cellwave.isolation.model import Bounds
from cellwave.releases.sources import fleet_in


def bounds_of(job: Job) -> Bounds | None:
    """The bounds of a job's cell, by the fleet of its release; None for a job that is in none."""
    if job.place is None:
        return None
    fleet = cache(partial(_fleet, Path(job.source)))
    return Bounds(job.place, job.isolation, fleet, today(), is_made=False)


def today() -> str:
    """The day, of UTC, as an allowance has it."""
    return datetime.now(UTC).date().isoformat()


def _fleet(source: Path) -> Fleet | None:
    return fleet_in(source) if (source / FOLDER).is_dir() else None
