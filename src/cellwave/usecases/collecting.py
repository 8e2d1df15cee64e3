"""Remove what ended rollouts leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellwave.rollout.records import KEPT as KEPT  # noqa: PLC0414 - how much is kept unless one says
from cellwave.text import counted
from cellwave.usecases.surroundings import Surroundings

if TYPE_CHECKING:
    from cellwave.rollout.gc import Collected


def collect(around: Surroundings, keep: int) -> Collected:
    """Remove what only ended rollouts needed, but for the newest `keep` (at least 1), and write it in the journal."""
    from cellwave.rollout import gc  # DBOS takes a second to import

    gone = gc.collect(around.project.home, around.records, around.project.database_url, keep)
    around.note("collected", in_words(gone), "")
    around.records.compact()
    return gone


def in_words(gone: Collected) -> str:
    """What was removed."""
    return (
        f"{counted(gone.attempts, 'attempt')} ({gone.bytes / 2**20:.1f} MiB), "
        f"{counted(gone.environments, 'environment')}, {counted(gone.workflows, 'workflow')}, "
        f"{counted(gone.rows, 'row')}"
    )
