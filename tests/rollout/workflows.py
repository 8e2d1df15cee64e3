"""Leaves a database with real DBOS workflows behind: three rollouts that ended and one that has not.

Usage: python -m tests.rollout.workflows DATABASE_URL
"""

from __future__ import annotations

import os
import sys
import threading

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from cellwave.rollout.records import Records, RolloutRow
from cellwave.rollout.state import Turn, first_state
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

    @DBOS.workflow(name="flow")
    def flow(size: int) -> None:
        if not size:
            threading.Event().wait()
        DBOS.run_step({"name": "step"}, lambda: "x" * size)

    DBOS.launch()
    for number, size in enumerate((200_000, 200_000, 10, 0), 1):
        name = f"v{number}-1"
        state = first_state(name, plan([[f"c{number}"]]))
        records.create_rollout(
            RolloutRow(id=name, created=float(number), actor="ann", target="t", state=state)
        )
        for flow_id in (name, f"{name}:a.app:forward:1") if size else (name,):
            with SetWorkflowID(flow_id):
                handle = DBOS.start_workflow(flow, size)
            if size:
                handle.get_result()
        if size:
            ended = state.model_copy(update={"outcome": "done", "turn": 1})
            records.commit_turn(Turn(state=ended), 2.0, "t")
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
