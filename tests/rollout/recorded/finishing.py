"""A worker of today on fake ports, which takes the recorded rollouts of one state backend to their ends.

Usage: python -m tests.rollout.recorded.finishing FOLDER TARGET
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from cellwave.fleet.model import AlarmSignal
from cellwave.health.model import Period, Reading, SeriesReading
from cellwave.health.ports import Wanted
from cellwave.project import Project
from cellwave.releases.store import DirectoryStore
from cellwave.rollout.beats import Beating, new_worker
from cellwave.rollout.effects import Effects
from cellwave.rollout.queues import Queues
from cellwave.rollout.records import Records
from cellwave.rollout.worker import serve
from tests.rollout.crashing import Dying, FakeEngine, FakeSignals


class BusySignals(FakeSignals):
    """Customers are many and content, but for the alarms of the bad release."""

    def read_one(self, wanted: Wanted) -> Reading:
        """See FakeSignals."""
        if isinstance(wanted.signal, AlarmSignal):
            return super().read_one(wanted)
        return SeriesReading(periods=(Period(at=time.time(), total=50),))


def main(folder: Path, target: str) -> None:
    """Work until no rollout of the backend is unfinished."""
    project, dying = Project(folder / "project"), Dying(folder)
    records = Records(project.database_url)
    queues = Queues(engines=4)
    beating = Beating(records, new_worker(folder, target), queues.wake.set)
    effects = Effects(
        home=folder,
        target=target,
        records=records,
        store=DirectoryStore(project.releases),
        deployer=FakeEngine(folder, dying),
        signals=BusySignals(folder, dying),
        worker=beating.me.id,
    )
    beating.start()
    queues.launch(project.database_url, beating.me, effects.perform)

    def over() -> bool:
        return not records.unfinished(target) and not records.unfinished_effects(target)

    serve(
        records, effects.memory, queues, beating, None, stopped=over, familiar=lambda: None, tidy=lambda: None
    )
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
