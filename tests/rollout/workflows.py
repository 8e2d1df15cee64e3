"""Leaves a database with real DBOS workflows behind: those of three rollouts that ended and of one that has not.

Usage: python -m tests.rollout.workflows DATABASE_URL
"""

from __future__ import annotations

import os
import sys
import threading

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from cellwave.rollout.loop import take_turn
from cellwave.rollout.model import Commanded, first_state
from cellwave.rollout.records import Records
from cellwave.rollout.rows import Memory
from tests.rollout.plans import plan


def main(url: str) -> None:
    """Run the workflows; the last one never ends."""
    records = Records(url)
    config: DBOSConfig = {
        "name": "cellwave",
        "system_database_url": url,
        "serializer": DBOSPortableJSONSerializer(),
        "enable_otlp": False,
    }
    DBOS(config=config)

    @DBOS.workflow(name="effect")
    def effect(size: int) -> str:
        if not size:
            threading.Event().wait()
        return "x" * size

    DBOS.launch()
    for number, size in enumerate((200_000, 200_000, 10, 0), 1):
        name = f"v{number}-1"
        row = records.create_rollout(first_state(name, plan([[f"c{number}"]])), "ann", "t", float(number))
        with SetWorkflowID(f"{row.name}:a.app:forward:1"):
            handle = DBOS.start_workflow(effect, size)
        if size:
            handle.get_result()
            records.command(name, name, Commanded(at=2.0, action="rollback", actor="ann"))
            while take_turn(records, Memory(), name, 2.0):
                pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
