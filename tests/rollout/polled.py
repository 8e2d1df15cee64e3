"""How often a worker polls from its first moment on: prints the seconds that its queues have when it begins to.

Usage: python -m tests.rollout.polled DATABASE_URL
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from dbos import DBOS
from sqlalchemy.exc import SQLAlchemyError

from cellwave.rollout.beats import new_worker
from cellwave.rollout.queues import ENGINES, LOOKS, Queues
from cellwave.rollout.records import Records


def main(url: str) -> None:
    """Launch a worker's queues, let them find nothing to do, and die."""
    records, queues, launch = Records(url), Queues(engines=1), DBOS.launch
    me = new_worker(Path.cwd(), "t")

    def told() -> None:
        names = (ENGINES, LOOKS, f"seat:{me.seat}")
        with suppress(SQLAlchemyError):  # before the first launch there are none
            for name in names:
                queue = queues._client.retrieve_queue(name)
                print(queue.polling_interval_sec if queue else None, flush=True)
        launch()

    setattr(DBOS, "launch", told)  # noqa: B010
    queues.launch(url, me, lambda _key: None)
    queues.take_up(records)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
