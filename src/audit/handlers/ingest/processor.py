"""From the landing bucket to the archive, then to the index. A redelivery changes nothing."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote_plus

from audit.handlers.common.aws import s3, setting, table
from audit.handlers.common.directory import directory
from audit.handlers.common.events import MAX_EVENTS, problems
from audit.handlers.common.http import parse_json
from audit.handlers.common.index import event_id, item
from audit.handlers.ingest.archive import archive

# Behind application, tenant and day; a second object of that name gets a digest more.
LONGEST_NAME = 600
REJECTED = "_rejected"  # no application's folder: an id begins with a letter or digit

log = logging.getLogger(__name__)


@dataclass
class Content:
    """A landing object's lines: events by tenant, each with its id, and what is no event, with the reason."""

    tenants: dict[str, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)
    rejected: list[dict[str, object]] = field(default_factory=list)

    def reject(self, number: int, reason: str, text: bytes) -> None:
        """Keep what is no event, from the line of that number on."""
        self.rejected.append({"line": number, "reason": reason, "text": text.decode(errors="replace")})


def handler(event: Mapping[str, Any], _context: object = None) -> dict[str, object]:
    """Process a batch of queue messages; answers those that must be delivered again."""
    failed = []
    for record in event["Records"]:
        try:
            for bucket, key, version in _objects(record["body"]):
                process(bucket, key, version)
        except Exception:  # one message's failure must not take the batch's others along
            log.exception("message %s failed", record["messageId"])
            failed.append({"itemIdentifier": record["messageId"]})
    if failed and len(failed) == len(event["Records"]):
        # The same redelivery, and the function's Errors metric shows it.
        raise RuntimeError(f"all {len(failed)} messages failed; the log says why")
    return {"batchItemFailures": failed}


def _objects(body: str) -> Iterator[tuple[str, str, str | None]]:
    """(bucket, key, version) of every object in an S3 notification; a test event has none."""
    for record in json.loads(body).get("Records", ()):
        found = record["s3"]["object"]
        yield record["s3"]["bucket"]["name"], unquote_plus(found["key"]), found.get("versionId")


def process(bucket: str, key: str, version: str | None) -> None:
    """Archive, then index the lines of one landing object. Raises when any of it could not be done."""
    if version:
        answer = s3().get_object(Bucket=bucket, Key=key, VersionId=version)
    else:
        answer = s3().get_object(Bucket=bucket, Key=key)
    application, _, name = key.partition("/")
    # The day of arrival, from the object itself: the same at every delivery.
    folder = f"{answer['LastModified']:%Y/%m/%d}/{_archive_name(name)}"
    content = _sort(answer["Body"].read(), key, application)
    for tenant, events in content.tenants.items():
        lines = [{"eventId": identity, **event} for identity, event in events]
        archive(f"{application}/{tenant}/{folder}", lines)
    if content.rejected:
        archive(f"{REJECTED}/{application}/{folder}", content.rejected)
    with table(setting("INDEX_TABLE")).batch_writer() as batch:
        for events in content.tenants.values():
            for identity, event in events:
                batch.put_item(Item=item(application, identity, event))
    _count(archived=sum(map(len, content.tenants.values())), rejected=len(content.rejected))


def _archive_name(name: str) -> str:
    """The client's name made safe; one too long for a key (S3 takes 1,024 bytes) gives way to its digest."""
    safe = quote(name, safe="")
    if len(safe) > LONGEST_NAME:
        safe = hashlib.sha256(name.encode()).hexdigest()
    return safe if safe.endswith(".jsonl") else f"{safe}.jsonl"


def _sort(content: bytes, key: str, application: str) -> Content:
    result = Content()
    registered = directory().tenants(application)
    seen = 0
    lines = io.BytesIO(content)
    for number, whole in enumerate(lines, start=1):
        line = whole.removesuffix(b"\n")
        if not line.strip():
            continue
        seen += 1
        if seen > MAX_EVENTS:
            # As one: an object of a million short lines must not cost a million records.
            reason = f"beyond the {MAX_EVENTS} lines that an object may hold"
            result.reject(number, reason, whole + lines.read())
            break
        event, reason = _parse(line, registered)
        if reason:
            result.reject(number, reason, line)
        else:
            found = (event_id(key, number, line), event)
            result.tenants.setdefault(event["tenantId"], []).append(found)
    return result


def _parse(line: bytes, registered: frozenset[str]) -> tuple[dict[str, Any], str]:
    """(the event, "") or ({}, why it is none)."""
    try:
        event = parse_json(line)
    except ValueError as error:
        return {}, f"no JSON: {error}"
    wrong = problems(event)
    if wrong:
        return {}, "; ".join(map(str, wrong))
    if event["tenantId"] not in registered:
        return {}, f"tenantId: {event['tenantId']} is not registered to the application"
    return event, ""


def _count(*, archived: int, rejected: int) -> None:
    """Counts for CloudWatch, in its embedded metric format (a line of the log; nothing is called)."""
    names = [{"Name": "Archived", "Unit": "Count"}, {"Name": "Rejected", "Unit": "Count"}]
    about = {"Namespace": "Audit", "Dimensions": [[]], "Metrics": names}
    metadata = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [about]}
    print(json.dumps({"_aws": metadata, "Archived": archived, "Rejected": rejected}), file=sys.stderr)
