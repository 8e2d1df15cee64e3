"""What was archived gets its entry in its tenant's log: called once a minute, for what the archive told since."""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError

from audit.handlers.common.aws import s3, setting, sqs
from audit.handlers.common.metrics import publish
from audit.handlers.common.retention import end_in
from audit.handlers.log.append import Busy, Line, append
from audit.handlers.log.keys import signer_of
from audit.handlers.log.store import Store

GATHERED = 1000  # messages at a time: each growth of a log costs the same, however many entries it brings
RESERVE_MS = 15_000  # what a growth may take: with less left none is begun
AT_ONCE = 4  # tenants
MAX_BYTES = 8 << 20  # of lines, in one growth of a log

log = logging.getLogger(__name__)

Place = tuple[str, str]  # application, tenant
Why = Literal["failed", "busy", "late"]


def handler(_event: object = None, context: Any = None) -> dict[str, object]:
    """Log what the queue tells of, as long as there is time; what could not be logged comes again.

    Raises when anything failed: the function's Errors metric shows it.
    """

    def in_time() -> bool:
        return context is None or context.get_remaining_time_in_millis() > RESERVE_MS

    count, failed = 0, 0
    while in_time() and (found := _received()):
        receipts = {message["MessageId"]: message["ReceiptHandle"] for message in found}
        told = {message["MessageId"]: message["Body"] for message in found}
        again = log_told(told, in_time, partial(_delete, receipts))
        _give_back(receipts, [one for one, why in again.items() if why == "late"])
        count += len(found) - len(again)
        failed += sum(why == "failed" for why in again.values())
    if failed:
        raise RuntimeError(f"{failed} messages failed; the log says why")
    return {"messages": count}


def log_told(
    bodies: Mapping[str, str],
    in_time: Callable[[], bool] = lambda: True,
    say_done: Callable[[list[str]], None] = lambda _: None,
) -> dict[str, Why]:
    """Log what messages (by id) tell of, while there is time; which must come again, and why.

    Those that are done are said to be as soon as they are, so that no kill has them done again.
    """
    objects: dict[Place, dict[str, str]] = defaultdict(dict)
    for message, body in bodies.items():
        for key in _keys(body):
            application, tenant, _ = key.split("/", 2)
            objects[application, tenant][key] = message
    left = Counter(message for told in objects.values() for message in told.values())
    say_done([message for message in bodies if not left[message]])
    again: dict[str, Why] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda place: _log_tenant(place, objects[place], in_time), objects)
        for place, wrong in zip(objects, found, strict=True):
            again |= wrong
            left.subtract(objects[place].values())
            say_done([one for one in {*objects[place].values()} if not left[one] and one not in again])
    return again


def _log_tenant(place: Place, objects: Mapping[str, str], in_time: Callable[[], bool]) -> dict[str, Why]:
    """Log a tenant's objects, each told of by a message; which of these must come again, and why."""
    messages = {*objects.values()}
    if not in_time():
        return dict.fromkeys(messages, "late")
    failed = set[str]()
    try:
        store, signer = Store.here(*place), signer_of(*place)
        for lines in _lines(objects, failed):
            publish({"Logged": append(store, lines, signer, _now), "LogFailed": 0})
    except Busy as error:  # nobody's fault: others have made it grow
        log.warning("%s: too many write to it, and these come again", error)
        return dict.fromkeys(messages, "busy")
    except Exception:  # one tenant's trouble is none of the others'
        log.exception("the log of %s/%s did not grow", *place)
        failed = messages
    if failed:
        publish({"LogFailed": 1})
    return dict.fromkeys(failed, "failed")


def _lines(objects: Mapping[str, str], failed: set[str]) -> Iterator[list[Line]]:
    """The events of these objects, so many at a time; the messages of objects that can't be read are `failed`."""
    lines: list[Line] = []
    for key, message in objects.items():
        try:
            answer = s3().get_object(Bucket=setting("ARCHIVE_BUCKET"), Key=key)
            end = end_in(answer)
            lines += [Line.of(line, key, end) for line in answer["Body"].read().splitlines()]
        except (BotoCoreError, ClientError, ValueError, LookupError):  # of this object alone
            log.exception("%s is not logged", key)
            failed.add(message)
        if sum(len(line.content) for line in lines) >= MAX_BYTES:
            yield lines
            lines = []
    if lines:
        yield lines


def _keys(body: str) -> Iterator[str]:
    """The archive's objects of events in an S3 notification: those of no tenant are none."""
    for record in json.loads(body).get("Records", ()):
        key = unquote_plus(record["s3"]["object"]["key"])
        if not key.startswith("_") and key.count("/") > 1:
            yield key


def _received() -> list[Any]:
    """What the queue has."""
    found: list[Any] = []
    asked: Any = {"QueueUrl": setting("LOG_QUEUE"), "MaxNumberOfMessages": 10}
    # Without waiting, SQS asks a few of its servers, and an empty answer says little.
    while len(found) < GATHERED and (
        some := sqs().receive_message(**asked, WaitTimeSeconds=0 if found else 1).get("Messages")
    ):
        found += some
    return found


def _delete(receipts: Mapping[str, str], messages: Sequence[str]) -> None:
    for entries in _entries(receipts, messages):
        sqs().delete_message_batch(QueueUrl=setting("LOG_QUEUE"), Entries=entries)


def _give_back(receipts: Mapping[str, str], messages: Sequence[str]) -> None:
    for entries in _entries(receipts, messages):
        again: Any = [{**entry, "VisibilityTimeout": 0} for entry in entries]
        sqs().change_message_visibility_batch(QueueUrl=setting("LOG_QUEUE"), Entries=again)


def _entries(receipts: Mapping[str, str], messages: Sequence[str]) -> Iterator[Any]:
    for begin in range(0, len(messages), 10):
        some = enumerate(messages[begin : begin + 10])
        yield [{"Id": str(number), "ReceiptHandle": receipts[message]} for number, message in some]


def _now() -> datetime:
    return datetime.now(UTC)
