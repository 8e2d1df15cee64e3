"""Where effects run: each is a durable DBOS workflow on a queue, under the effect's own key.

What may run is decided by turns alone; a queue only says on which host, and how much at once there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import sqlalchemy as sa
import structlog
from dbos import (
    DBOS,
    DBOSClient,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    EnqueueOptions,
    Queue,
    SetEnqueueOptions,
    SetWorkflowID,
    WorkflowStatus,
    error,
)
from sqlalchemy.exc import SQLAlchemyError

from cellwave.frozen import digest_of
from cellwave.rollout.beats import Worker, beats
from cellwave.rollout.database import REACHED, database_url, existing
from cellwave.rollout.model import Deploy, Preview
from cellwave.rollout.outbox import Asked
from cellwave.rollout.records import Records

NAME, EFFECT = "cellwave", "effect"  # of the application, and of its one workflow
POLL_SECONDS = 0.05
IDLE_SECONDS = 0.5  # between two polls for engines while no rollout is under way
SELDOM_SECONDS = 1.0  # between two polls of a queue that holds only what dead workers were at
STILL = ("ENQUEUED", "PENDING", "DELAYED")  # states of a workflow of which more is to come
CONNECTIONS = 6  # to a server, which takes a hundred of all its clients unless told otherwise
ENGINES = "engines"
LOOKS = "looks"  # without a limit: one of those is filled up at each poll only
# What our calls of DBOS can raise that it does not try again itself: a database may have failed them, or have lost what
# another had written. All of it is asked for again.
TROUBLES = (OSError, SQLAlchemyError, error.DBOSException)
LAST = 1  # what has no priority is 0, and goes first
BOUNDED = (Deploy, Preview)  # the effects that run an engine, of which a host has a few at a time
SEAT = "seat:"  # how the queue's name begins of what only this seat's worker is to go on with: its engines still run
log = structlog.get_logger()


@dataclass
class Queues:
    """DBOS on the database, performing effects. `wake` is set whenever one has ended."""

    engines: int
    wake: threading.Event = field(default_factory=threading.Event)
    _at_work: set[str] = field(default_factory=set)
    _idle: set[str] = field(default_factory=set)
    _me: Worker = field(init=False)
    _seat: str = field(init=False)
    _version: str = field(init=False)
    _client: DBOSClient = field(init=False)
    _queues: dict[str, Queue] = field(default_factory=dict)
    _polls: dict[str, float] = field(default_factory=dict)  # seconds between two, by queue, as far as we know
    _given: set[str] = field(
        default_factory=set
    )  # the queues that got anything since the last taking up began

    def launch(self, url: str, me: Worker, perform: Callable[[str], None]) -> None:
        """Bring up DBOS for a worker. `engines` run at once here. What an earlier worker had begun is left alone."""
        self._me, self._seat = me, f"{SEAT}{me.seat}"
        self._version = f"effects-1/{digest_of(me.target)[:12]}"
        # What it enqueues it writes by a connection of ours.
        self._client = DBOSClient(
            system_database_url=existing(url),
            application_name=NAME,
            serializer=DBOSPortableJSONSerializer(),
            lazy=True,
        )
        config: DBOSConfig = {
            "name": NAME,
            "system_database_url": existing(url),
            # Of effects, not of cellwave: what one version has asked for, the next performs. Nobody takes from a queue
            # what is another state backend's.
            "application_version": self._version,
            "executor_id": me.id,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",
            "enable_otlp": False,
        }
        if database_url(url).get_backend_name() == "postgresql":
            config["db_engine_kwargs"] = {"connect_args": REACHED}
            config["sys_db_pool_size"] = CONNECTIONS
        DBOS(config=config)

        # However often a worker dies, an effect is not given up: None takes DBOS's own limit away.
        @DBOS.workflow(name=EFFECT, max_recovery_attempts=None)
        def effect(key: str) -> None:
            if key in self._at_work:
                return
            self._at_work.add(key)
            try:
                perform(key)
            finally:
                self._at_work.discard(key)
                self.wake.set()

        self._workflow = effect
        DBOS.listen_queues([ENGINES, LOOKS, self._seat])
        # A dead worker may have left them seldom polled, and who polls waits before it looks. (Before the first launch
        # there are no tables.)
        with suppress(SQLAlchemyError):
            self._register(self._client.register_queue)
        DBOS.launch()
        self._queues = self._register(DBOS.register_queue)
        self._polls = dict.fromkeys(self._queues, POLL_SECONDS)

    def _register(self, register: Callable[..., Queue]) -> dict[str, Queue]:
        return {
            name: register(
                name, worker_concurrency=limit, polling_interval_sec=POLL_SECONDS, on_conflict="always_update"
            )
            for name, limit in ((ENGINES, self.engines), (LOOKS, None), (self._seat, None))
        }

    def _poll(self, name: str, seconds: float) -> None:
        if self._polls[name] != seconds:
            self._queues[name].set_polling_interval_sec(seconds)
            self._polls[name] = seconds

    def place(self, records: Records, target: str) -> None:
        """Hand over what turns have asked for: engines to a queue, which bounds them; whatever looks is begun here and
        now. From then on the queue is polled often. Killed in between, the next place of the same is the same."""
        now = time.time()
        if found := [asked for asked in records.unplaced(target) if not asked.waits(now)]:
            self._poll(ENGINES, POLL_SECONDS)
            for asked in found:
                if not isinstance(asked.effect, BOUNDED):
                    self._start(asked)
            records.placed(found, self._hand_over)

    def take_up(self, records: Records) -> None:
        """Hand over once more what dead workers were at, and what ended, or broke off, without having been told."""
        placed = {asked.workflow: asked for asked in records.unfinished_effects(self._me.target)}
        self._given.clear()
        if placed:
            self._take_up_of(records, placed)
        # All hosts poll those two, and any may have said how often.
        self._polls |= {name: self._queues[name].polling_interval_sec for name in (ENGINES, LOOKS)}
        self._poll(ENGINES, POLL_SECONDS if records.is_busy() else IDLE_SECONDS)
        for name in (LOOKS, self._seat):
            self._poll(name, POLL_SECONDS if name in self._given else SELDOM_SECONDS)

    def _take_up_of(self, records: Records, placed: Mapping[str, Asked]) -> None:
        found = {
            flow.workflow_id: flow
            for flow in DBOS.list_workflows(workflow_ids=list(placed), load_input=False)
        }
        # Looked at last: whoever is there by now may have begun what was found.
        living = beats(records, self._me.target).keys()
        idle = set()
        for name, asked in placed.items():
            flow, at_work = found.get(name), asked.key in self._at_work
            mine = asked.owner == self._me.id
            if flow is None or flow.status not in STILL:
                if asked.owner not in living or (mine and not at_work):
                    self._place_again(records, asked)
            elif self._is_left(flow, asked, living):
                self._resume(asked)
            elif flow.status == "PENDING" and flow.executor_id == self._me.id and not at_work:
                idle.add(name)
        # A thread that died of a full disk leaves its workflow so. One that was just taken from the queue, or has just
        # ended, is not at work at one look; at two it is.
        for name in idle & self._idle:
            self._resume(placed[name])
        self._idle = idle - self._idle

    def _is_left(self, flow: WorkflowStatus, asked: Asked, living: Collection[str]) -> bool:
        """Whether a workflow is with somebody who is dead: at work on it, or on the seat where it waits."""
        if flow.status == "PENDING":
            return flow.executor_id not in living
        waits = str(flow.queue_name).startswith(SEAT) and flow.queue_name != self._seat
        return waits and asked.owner not in living

    def _resume(self, asked: Asked) -> None:
        log.warning("an effect that nobody is at work on is taken up again", effect=asked.key)
        DBOS.resume_workflows([asked.workflow], queue_name=self._queue(asked))

    def _place_again(self, records: Records, asked: Asked) -> None:
        # Killed in between, the next look finds that round in no queue, and begins another.
        if records.placed_again(asked):
            log.warning("an effect ended untold, and is performed again", effect=asked.key)
            self._enqueue(asked.model_copy(update={"round": asked.round + 1}))

    def _enqueue(self, asked: Asked) -> None:
        with SetWorkflowID(asked.workflow), SetEnqueueOptions(priority=_priority(asked)):
            DBOS.enqueue_workflow(self._queue(asked), self._workflow, asked.key)

    def _start(self, asked: Asked) -> None:
        with SetWorkflowID(asked.workflow):
            DBOS.start_workflow(self._workflow, asked.key)

    def _hand_over(self, db: sa.Connection, asked: Asked) -> None:
        if not isinstance(asked.effect, BOUNDED):
            return
        options: EnqueueOptions = {
            "workflow_name": EFFECT,
            "workflow_id": asked.workflow,
            "queue_name": self._queue(asked),
            "app_version": self._version,
        }
        if priority := _priority(asked):
            options["priority"] = priority
        self._client.enqueue_in_transaction(db, options, asked.key)

    def _queue(self, asked: Asked) -> str:
        """Where an effect goes: what this worker has begun is nobody else's."""
        shared = ENGINES if isinstance(asked.effect, BOUNDED) else LOOKS
        name = self._seat if asked.owner == self._me.id else shared
        self._given.add(name)
        return name


def _priority(asked: Asked) -> int | None:
    # Of what waits for an engine here, whatever changes something goes first.
    return LAST if isinstance(asked.effect, Preview) else None
