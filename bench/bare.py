"""What DBOS alone takes: workflows that do nothing, handed one by one to a queue as large as a worker's.

`python -m bench.bare DATABASE_URL COUNT` prints the seconds from the first to the end of the last.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from bench.worker import ENGINES
from cellwave.rollout.database import existing
from cellwave.rollout.queues import POLL_SECONDS
from cellwave.rollout.records import Records

STARTED_S = 1.5  # DBOS finds a queue that is new within a second


def main(url: str, count: int) -> float:
    """Run them."""
    Records(url)  # a database like ours
    config: DBOSConfig = {
        "name": "bare",
        "system_database_url": existing(url),
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "WARNING",
        "enable_otlp": False,
    }
    DBOS(config=config)
    left, over = [count], threading.Event()
    lock = threading.Lock()

    @DBOS.workflow(name="nothing")
    def nothing(_key: str) -> None:
        with lock:
            left[0] -= 1
            if not left[0]:
                over.set()

    DBOS.launch()
    DBOS.register_queue("bare", worker_concurrency=ENGINES, polling_interval_sec=POLL_SECONDS)
    time.sleep(STARTED_S)
    begin = time.monotonic()
    for number in range(count):
        with SetWorkflowID(f"nothing-{number}"):
            DBOS.enqueue_workflow("bare", nothing, str(number))
    over.wait()
    return time.monotonic() - begin


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2])), flush=True)
    os._exit(0)  # DBOS's threads outlive its end
