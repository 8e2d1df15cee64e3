"""Sends streams on their way: called once a minute to put a message a stream into a queue, and by the queue with each.

A worker has one stream, for a while and alone. A stream's position moves when its destination has said that it has what
was sent, and never before: whatever is killed when, every entry arrives at least once, in the order of the log.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from audit.handlers.common import aws
from audit.handlers.common.aws import setting
from audit.handlers.common.exact import read, write
from audit.handlers.common.internal import Actor, Internal, tell
from audit.handlers.common.metrics import publish
from audit.handlers.log import reading
from audit.handlers.log.attested import activities
from audit.handlers.log.store import Store
from audit.handlers.stream import rows
from audit.handlers.stream.guard import Network
from audit.handlers.stream.health import Failure
from audit.handlers.stream.lag import behind
from audit.handlers.stream.rows import Stream
from audit.handlers.stream.wire import Batch, To, deliver

COUNT = 500  # entries a batch
BYTES = 512 * 1024  # of lines a batch; an event is at most 32 KB
RESERVE = (
    45.0  # seconds that a batch may take: a name that is hard to resolve, three addresses, and an answer
)
MESSAGES = 10  # a call, as SQS has it

log = logging.getLogger(__name__)
clock = time.time
luck = random.random
network = Network()


def handler(event: Mapping[str, Any], context: Any = None) -> dict[str, int]:
    """Work on the streams of a batch of messages; without any, put a message a stream that is due into the queue."""
    if "Records" not in event:
        return {"messages": kick()}
    for record in event["Records"]:
        work(json.loads(record["body"]), clock() + context.get_remaining_time_in_millis() / 1000)
    return {"streams": len(event["Records"])}


def kick() -> int:
    """Have every stream that is due worked on; how many."""
    now = clock()
    due = (json.dumps(one.place) for one in rows.every() if one.lease < now and one.health.is_due(now))
    count = 0
    while bodies := list(islice(due, MESSAGES)):
        entries: Any = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
        aws.sqs().send_message_batch(QueueUrl=setting("STREAMS_QUEUE"), Entries=entries)
        count += len(bodies)
    return count


def work(place: Mapping[str, str], end: float) -> None:
    """Send what a stream has, for as long as there is time. Nothing is done where another is at it."""
    stream = rows.claim(place, clock(), end)
    if stream is None:
        return
    turn = Turn(Store.here(stream.application, stream.tenant), rows.unseal(stream), _external_id(stream))
    most, goes_on = COUNT, True
    while goes_on and clock() < end - RESERVE and stream.health.is_due(clock()):
        if stream.health.state(clock()) == "dead":
            stream = _reported(stream)
            break
        try:
            batch = turn.next_batch(stream, most)
        except reading.Unplaced as error:  # of this stream alone, and no destination's fault
            log.warning("%s: %s: `cellwave audit relog` says it", stream.id, error)
            stream = _failed(stream, Failure(f"nothing is sent: {error}"))
            break
        if batch is None:
            break
        failure = turn.send(stream, batch)
        if failure and failure.too_large and len(batch.lines) > 1:
            most = len(batch.lines) // 2
            continue
        stream = _after(stream, batch, failure)
        goes_on = rows.save(stream)
    if goes_on:
        rows.save(stream, last=True)
    _count(stream, turn)


def _external_id(stream: Stream) -> str:
    return rows.external_id(stream.application, stream.tenant) if stream.kind == "s3" else ""


@dataclass
class Turn:
    """What a worker has of its stream while it is at it; `sent` counts events that arrived."""

    store: Store
    secret: str
    external_id: str
    sent: int = 0
    failed: int = 0

    def next_batch(self, stream: Stream, most: int) -> Batch | None:
        """What comes next, of at most so many entries; None when there is nothing."""
        if stream.health.state(clock()) == "testing":
            lines = _shaped(stream, [_test_event(stream)])
            return Batch(stream.id, stream.position, stream.position, lines, test=True)
        size = reading.size_of(self.store)
        if stream.position >= size:
            return None
        logged = reading.read(self.store, size, stream.position, stream.position + most)
        kept = _within(logged, BYTES)
        lines = [one.line for one in kept if one.line is not None]
        return Batch(stream.id, stream.position, stream.position + len(kept), _shaped(stream, lines))

    def send(self, stream: Stream, batch: Batch) -> Failure | None:
        """Send a batch; of entries whose events are all gone nothing is."""
        failure = None
        if batch.lines:
            to = To(stream.told, self.secret, self.external_id, network, clock())
            failure = deliver(stream.kind, to, batch)
        self.failed += failure is not None
        self.sent += 0 if failure or batch.test else len(batch.lines)
        return failure


def _shaped(stream: Stream, lines: Sequence[bytes]) -> list[bytes]:
    """Lines of the archive as the stream's destination wants them."""
    if stream.told.get("format") != "ocsf":
        return [*lines]
    events = [read(line.decode()) for line in lines]
    return [write(one).encode() for one in activities(stream.application, stream.tenant, events)]


def _after(stream: Stream, batch: Batch, failure: Failure | None) -> Stream:
    """The stream after its destination's answer."""
    if failure:
        return _failed(stream, failure)
    return replace(stream, position=batch.following, health=stream.health.well(clock()))


def _failed(stream: Stream, failure: Failure) -> Stream:
    return replace(stream, health=stream.health.failed(failure, clock(), luck()))


def _reported(stream: Stream) -> Stream:
    """A dead stream, after its tenant's log tells of it."""
    health = stream.health
    tell(
        Internal(
            stream.application,
            stream.tenant,
            "audit.stream.dead",
            Actor("service", "streams"),
            datetime.fromtimestamp(health.dies, UTC),
            f"{stream.id}\n{health.failing}",
            {"stream": stream.id, "error": health.error, "failures": health.failures},
        )
    )
    return replace(stream, health=replace(health, reported=clock()))


def _within(logged: Sequence[reading.Logged], room: int) -> Sequence[reading.Logged]:
    """The first entries, as many as have room: at least one."""
    for number, one in enumerate(logged):
        room -= len(one.line or b"")
        if number and room < 0:
            return logged[:number]
    return logged


def _test_event(stream: Stream) -> bytes:
    """An event that says what it is."""
    now = datetime.fromtimestamp(clock(), UTC)
    return write(
        {
            "eventId": f"test-{stream.id}",
            "tenantId": stream.tenant,
            "eventTime": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "eventName": "audit.stream.test",
            "eventDetails": {"stream": stream.id, "test": True},
        }
    ).encode()


def _count(stream: Stream, turn: Turn) -> None:
    counts = {"StreamSent": turn.sent, "StreamFailed": turn.failed}
    if stream.health.state(clock()) == "active":  # what a destination does not take is no lag of ours
        _, seconds = behind(stream, turn.store, reading.size_of(turn.store), clock())
        counts["StreamLag"] = int(seconds)
    publish(counts)
