"""Which of what waits for one engine gets it first: prints the keys of what was performed, in order.

Usage: python -m tests.rollout.one_engine DATABASE_URL
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import sqlalchemy as sa

from cellwave.rollout.beats import new_worker
from cellwave.rollout.model import Deploy, Preview, first_state
from cellwave.rollout.queues import Queues
from cellwave.rollout.records import Records
from cellwave.rollout.tables import OUTBOX
from tests.rollout.plans import plan


def main(url: str) -> None:
    """Hand a preview over, and two deployments after it; one transaction shows them all to the queue."""
    records, made = Records(url), plan([["a"]])
    storage, ingest, query = made.steps
    records.create_rollout(first_state("v2-1", made), "ann", "t", 1.0)
    effects: tuple[Preview | Deploy, ...] = (
        Preview(step=storage, number=1),
        Deploy(step=ingest, attempt=1, back=False),
        Deploy(step=query, attempt=1, back=False),
    )
    with records.transaction() as db:
        for number, effect in enumerate(effects):
            row = {"key": effect.kind + str(number), "rollout": "v2-1", "target": "t", "asked": float(number)}
            more = {"effect": effect.model_dump_json(), "placed": False, "round": 0}
            db.execute(sa.insert(OUTBOX).values(**row, **more))
    left = len(effects)

    def perform(key: str) -> None:
        nonlocal left
        print(key, flush=True)
        left -= 1
        if not left:
            os._exit(0)

    queues = Queues(engines=1)
    queues.launch(url, new_worker(Path.cwd(), "t"), perform)
    queues.place(records, "t")
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
