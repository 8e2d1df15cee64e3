"""From the landing bucket to the archive, then to the index. A redelivery changes nothing."""

from __future__ import annotations

import io
import json
import logging
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.events import MAX_EVENT_BYTES, MAX_EVENTS, problems
from audit.handlers.common.http import parse_json
from audit.handlers.common.index import insert, item
from audit.handlers.common.metrics import publish
from audit.handlers.common.rehearsal import rehearsed
from audit.handlers.ingest.acceptance import registration
from audit.handlers.ingest.archive import archive
from audit.handlers.ingest.landed import Landed
from audit.handlers.ingest.processor_rehearsal import play_processor

# A line may spell its event wider than we do (blanks, \u0041); what is wider by far is not worth the memory to parse.
LONGEST_LINE = 4 * MAX_EVENT_BYTES
REJECTED = "_rejected"  # no application's folder: an id begins with a letter or digit
RESERVE_MS = (
    10_000  # what one object may take; with less left, the rest of a batch waits for its next delivery
)

log = logging.getLogger(__name__)


class Poison(Exception):
    """An upload that this code stumbles over: its client's doing, as far as anybody can tell."""


@dataclass
class Content:
    """A landing object's lines: events by tenant, each with its id, and what is no event, with the reason."""

    tenants: dict[str, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)
    rejected: list[dict[str, object]] = field(default_factory=list)

    def reject(self, number: int, reason: str, text: bytes) -> None:
        """Keep what is no event, from the line of that number on."""
        self.rejected.append({"line": number, "reason": reason, "text": text.decode(errors="replace")})


@rehearsed(play_processor)
def handler(event: Mapping[str, Any], context: Any = None) -> dict[str, object]:
    """Process a batch of queue messages; answers those that must be delivered again."""
    failed, blamed = [], False
    for index, record in enumerate(event["Records"]):
        try:
            if index and context is not None and context.get_remaining_time_in_millis() < RESERVE_MS:
                raise Poison("the objects before took all the time")
            for place in _objects(record["body"]):
                process(*place, last=_is_last(record))
        except Exception as error:  # one message's failure must not take the batch's others along
            log.exception("message %s failed", record["messageId"])
            failed.append({"itemIdentifier": record["messageId"]})
            blamed = blamed or not isinstance(error, Poison)
    if blamed and len(failed) == len(event["Records"]):
        # The same redelivery, and the function's Errors metric shows it.
        raise RuntimeError(f"all {len(failed)} messages failed; the log says why")
    return {"batchItemFailures": failed}


def _is_last(record: Mapping[str, Any]) -> bool:
    """Whether the queue would give the message up after this delivery."""
    received = int(record.get("attributes", {}).get("ApproximateReceiveCount", "1"))
    return received >= int(setting("TRIES"))


def _objects(body: str) -> Iterator[tuple[str, str, str]]:
    """(bucket, key, version) of every object in an S3 notification; a test event has none."""
    for record in json.loads(body).get("Records", ()):
        found = record["s3"]["object"]
        yield record["s3"]["bucket"]["name"], unquote_plus(found["key"]), found["versionId"]


def process(bucket: str, key: str, version: str, *, last: bool) -> None:
    """Archive, then index the lines of one landing object.

    Raises when any of it could not be done: Poison for an upload's own sake, which on the `last` delivery is kept
    among what was rejected instead. A post is the API's word: whatever befalls it is raised.
    """
    answer = s3().get_object(Bucket=bucket, Key=key, VersionId=version)
    landed = Landed(key, answer["LastModified"], answer["Metadata"], answer["Body"].read())
    try:
        content = _keep(landed)
    except Exception as error:
        if landed.post:
            publish({"Posts": 1, "PostsFailed": 1})
        if landed.post or isinstance(error, BotoCoreError | ClientError):
            raise
        if not last:
            raise Poison(f"{key}: {error}") from error
        log.exception("%s is kept as it came", key)
        content = Content()
        content.reject(1, f"could not be processed: {error}", landed.content)
        archive(f"{REJECTED}/{landed.application}/{landed.place}", content.rejected)
    posts = {"Posts": 1, "PostsFailed": 0} if landed.post else {}
    archived = sum(map(len, content.tenants.values()))
    publish({"Archived": archived, "Rejected": len(content.rejected), **posts})


def _keep(landed: Landed) -> Content:
    content = _sort(landed, registration(landed.application, landed.metadata))
    if landed.post and content.rejected:
        # Another release would not think so: it stays in the queue until one comes.
        raise ValueError(f"{landed.key}: accepted, and now it is found that {content.rejected[0]['reason']}")
    for tenant, events in content.tenants.items():
        lines = [{"eventId": identity, **event} for identity, event in events]
        folder = landed.folder(identity for identity, _ in events)
        archive(f"{landed.application}/{tenant}/{folder}", lines)
    if content.rejected:
        archive(f"{REJECTED}/{landed.application}/{landed.place}", content.rejected)
    insert(
        item(landed.application, identity, event)
        for events in content.tenants.values()
        for identity, event in events
    )
    return content


def _sort(landed: Landed, registered: Callable[[str], bool]) -> Content:
    result = Content()
    held, seen = 0, Counter[bytes]()
    lines = io.BytesIO(landed.content)
    for number, whole in enumerate(lines, start=1):
        line = whole.removesuffix(b"\n")
        if not line.removeprefix(BOM_UTF8).strip():
            continue
        held += 1
        seen[line] += 1
        if held > MAX_EVENTS:
            # As one: an object of a million short lines must not cost a million records.
            reason = f"beyond the {MAX_EVENTS} lines that an object may hold"
            result.reject(number, reason, whole + lines.read())
            break
        event, reason = _parse(line, registered)
        if reason:
            result.reject(number, reason, line)
        else:
            identity = landed.identity(number, seen[line], line)
            result.tenants.setdefault(event["tenantId"], []).append((identity, event))
    return result


def _parse(line: bytes, registered: Callable[[str], bool]) -> tuple[dict[str, Any], str]:
    """(the event, "") or ({}, why it is none)."""
    if len(line) > LONGEST_LINE:
        return {}, f"{len(line)} bytes, of at most {LONGEST_LINE}"
    try:
        event = parse_json(line)
    except ValueError as error:
        return {}, f"no JSON: {error}"
    wrong = problems(event)
    if wrong:
        return {}, "; ".join(map(str, wrong))
    if not registered(event["tenantId"]):
        return {}, f"tenantId: {event['tenantId']} is not registered to the application"
    return event, ""
