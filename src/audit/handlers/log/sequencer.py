"""What was archived gets its entry in its tenant's log: called with the archive's notifications."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.metrics import publish
from audit.handlers.log.append import Busy, Line, append
from audit.handlers.log.keys import signer_of
from audit.handlers.log.store import Store

MAX_LINES = 5000  # in one growth of a log

log = logging.getLogger(__name__)

Place = tuple[str, str]  # application, tenant


def handler(event: Mapping[str, Any], _context: object = None) -> dict[str, object]:
    """Log what a batch of queue messages tells of; answers those that must be delivered again."""
    objects: dict[Place, list[tuple[str, str]]] = defaultdict(list)
    for record in event["Records"]:
        for key in _keys(record["body"]):
            application, tenant, _ = key.split("/", 2)
            objects[application, tenant].append((key, record["messageId"]))
    failed, blamed = set[str](), set[str]()
    for (application, tenant), found in objects.items():
        messages = {message for _, message in found}
        store, signer = Store.here(application, tenant), signer_of(application, tenant)
        try:
            logged = sum(append(store, lines, signer, _now) for lines in _lines(found))
            publish({"Logged": logged, "LogFailed": 0})
        except Busy as error:  # nobody's fault: others have made it grow
            log.warning("%s: too many write to it, and these come again", error)
            failed |= messages
        except Exception:  # one tenant's trouble is none of the others'
            log.exception("the log of %s/%s did not grow", application, tenant)
            publish({"LogFailed": 1})
            failed |= messages
            blamed |= messages
    if blamed and len(blamed) == len(event["Records"]):
        # The same redelivery, and the function's Errors metric shows it.
        raise RuntimeError(f"all {len(blamed)} messages failed; the log says why")
    return {"batchItemFailures": [{"itemIdentifier": message} for message in sorted(failed)]}


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
