"""Is there room for what a deployment writes? A full disk would end a rollout in the middle of a decision."""

from __future__ import annotations

import shutil
from pathlib import Path

from cellwave.errors import Unavailable

NEEDED_BYTES = 200 * 1024 * 1024


def require_space(folder: Path) -> None:
    """Unavailable when less than NEEDED_BYTES are free where `folder` is or will be."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there)[2]
    if free < NEEDED_BYTES:
        raise Unavailable(
            f"only {free // 2**20} MiB are free where {folder} is kept, {NEEDED_BYTES // 2**20} MiB are needed",
            hint="free some space, or move it with CELLWAVE_HOME",
            fault="disk",
        )
