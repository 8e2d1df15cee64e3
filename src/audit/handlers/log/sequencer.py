"""What was archived gets its entry in its tenant's log: called once a minute, for what the archive told since."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from audit.handlers.common.aws import s3, setting, sqs
from audit.handlers.common.metrics import publish
from audit.handlers.log.append import Busy, Line, append
from audit.handlers.log.keys import signer_of
from audit.handlers.log.store import Store

MAX_LINES = 5000  # in one growth of a log
GATHERED = 1000  # messages at a time
RESERVE_MS = 20_000  # what they may take

log = logging.getLogger(__name__)

Place = tuple[str, str]  # application, tenant


def handler(_event: object = None, context: Any = None) -> dict[str, object]:
    """Log what the queue tells of, as long as there is time; what could not be logged comes again.

    Raises when anything was at fault for that: the function's Errors metric shows it.
    """
    logged, blamed = 0, 0
    while (context is None or context.get_remaining_time_in_millis() > RESERVE_MS) and (found := _received()):
        again, faults = log_told({message["MessageId"]: message["Body"] for message in found})
        done = [message for message in found if message["MessageId"] not in again]
        _delete(done)
        logged, blamed = logged + len(done), blamed + len(faults)
    if blamed:
        raise RuntimeError(f"{blamed} messages failed; the log says why")
    return {"messages": logged}


def log_told(bodies: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """Log what messages (by id) tell of; those that must come again, and those among them that something was at fault
    for."""
    objects: dict[Place, list[tuple[str, str]]] = defaultdict(list)
    for message, body in bodies.items():
        for key in _keys(body):
            application, tenant, _ = key.split("/", 2)
            objects[application, tenant].append((key, message))
    again, blamed = set[str](), set[str]()
    for (application, tenant), found in objects.items():
        messages = {message for _, message in found}
        store, signer = Store.here(application, tenant), signer_of(application, tenant)
        try:
            logged = sum(append(store, lines, signer, _now) for lines in _lines(found))
            publish({"Logged": logged, "LogFailed": 0})
        except Busy as error:  # nobody's fault: others have made it grow
            log.warning("%s: too many write to it, and these come again", error)
            again |= messages
        except Exception:  # one tenant's trouble is none of the others'
            log.exception("the log of %s/%s did not grow", application, tenant)
            publish({"LogFailed": 1})
            again |= messages
            blamed |= messages
    return again, blamed


def _received() -> list[Any]:
    """What the queue has: much at a time, as each growth of a log costs the same, however many entries it brings."""
    found: list[Any] = []
    while len(found) < GATHERED and (
        some := sqs().receive_message(QueueUrl=setting("LOG_QUEUE"), MaxNumberOfMessages=10).get("Messages")
    ):
        found += some
    return found


def _delete(messages: list[Any]) -> None:
    for begin in range(0, len(messages), 10):
        sqs().delete_message_batch(
            QueueUrl=setting("LOG_QUEUE"),
            Entries=[
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages[begin : begin + 10])
            ],
        )


def _keys(body: str) -> Iterator[str]:
    """The archive's objects of events in an S3 notification: those of no tenant are none."""
    for record in json.loads(body).get("Records", ()):
        key = unquote_plus(record["s3"]["object"]["key"])
        if not key.startswith("_"):
            yield key


def _lines(objects: list[tuple[str, str]]) -> Iterator[list[Line]]:
    """The events of these objects, so many at a time."""
    lines: list[Line] = []
    for key, _ in objects:
        content = s3().get_object(Bucket=setting("ARCHIVE_BUCKET"), Key=key)["Body"].read()
        lines += map(Line.of, content.splitlines())
        if len(lines) >= MAX_LINES:
            yield lines
            lines = []
    if lines:
        yield lines


def _now() -> datetime:
    return datetime.now(UTC)
