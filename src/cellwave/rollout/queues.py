"""Where effects run: each is a durable DBOS workflow on a queue, under the effect's own key.

What may run is decided by turns alone; a queue only says on which host, and how much at once there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from cellwave.rollout.database import REACHED, database_url, existing
from cellwave.rollout.model import Deploy, Effect
from cellwave.rollout.records import Records

POLL_SECONDS = 0.1
STILL = ("ENQUEUED", "PENDING", "DELAYED")  # states of a workflow of which more is to come
CONNECTIONS = 6  # to a server, which takes a hundred of all its clients unless told otherwise
ENGINES = "engines"
LOOKS = "looks"  # without a limit: one of those is filled up at each poll only
log = structlog.get_logger()


@dataclass
class Queues:
    """DBOS on the database, performing effects. `wake` is set whenever one has ended."""

    perform: Callable[[str], None]
    engines: int
    wake: threading.Event = field(default_factory=threading.Event)
    _at_work: set[str] = field(default_factory=set)
    _idle: set[str] = field(default_factory=set)
    _executor: str = ""

    def launch(self, url: str, executor: str) -> None:
        """Bring up DBOS; what this executor had begun is taken up again. `engines` run at once here."""
        config: DBOSConfig = {
            "name": "cellwave",
            "system_database_url": existing(url),
            # Of effects, not of cellwave: what one version has asked for, the next performs.
            "application_version": "effects-1",
            "executor_id": executor,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",
            "enable_otlp": False,
        }
        if database_url(url).get_backend_name() == "postgresql":
            config["db_engine_kwargs"] = {"connect_args": REACHED}
            config["sys_db_pool_size"] = CONNECTIONS
        self._executor = executor
        DBOS(config=config)

        # However often a worker dies, an effect is not given up: None takes DBOS's own limit away.
        @DBOS.workflow(name="effect", max_recovery_attempts=None)
        def effect(key: str) -> None:
            self._at_work.add(key)
            try:
                self.perform(key)
            finally:
                self._at_work.discard(key)
                self.wake.set()

        self._workflow = effect
        DBOS.launch()
        for name, limit in ((ENGINES, self.engines), (LOOKS, None)):
            DBOS.register_queue(
                name, worker_concurrency=limit, polling_interval_sec=POLL_SECONDS, on_conflict="always_update"
            )

    def place(self, records: Records, target: str) -> None:
        """Hand to a queue what turns have asked for. Killed in between, the next place of the same is the same."""
        for asked in records.unplaced(target):
            if not asked.waits(time.time()):
                with SetWorkflowID(asked.workflow):
                    DBOS.enqueue_workflow(_queue(asked.effect), self._workflow, asked.key)
                records.placed(asked)

    def place_lost(self, records: Records, target: str) -> None:
        """Hand over once more what ended, or broke off, without having been told, as when a disk was full."""
        placed = {asked.workflow: asked for asked in records.unfinished_effects(target)}
        if not placed:
            return
        found = {
            flow.workflow_id: flow
            for flow in DBOS.list_workflows(workflow_ids=list(placed), load_input=False)
        }
        for name, asked in placed.items():
            flow = found.get(name)
            if flow is None or flow.status not in STILL:
                log.warning("an effect ended untold, and is performed again", effect=asked.key)
                records.place_again(asked)
        mine = {
            name
            for name, flow in found.items()
            if flow.status == "PENDING" and flow.executor_id == self._executor
        }
        # A thread that died of a full disk leaves its workflow so. One that was just taken from the queue, or has just
        # ended, is not at work at one look; at two it is.
        idle = {name for name in mine if placed[name].key not in self._at_work}
        if still := sorted(idle & self._idle):
            log.warning("effects that nobody is at work on are taken up again", effects=still)
            DBOS.resume_workflows(still)
        self._idle = idle - set(still)


def _queue(effect: Effect) -> str:
    return ENGINES if isinstance(effect, Deploy) else LOOKS
