"""From the landing bucket to the archive, then to the index. A redelivery changes nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.metrics import publish
from audit.handlers.common.rehearsal import rehearsed
from audit.handlers.ingest.acceptance import is_replay
from audit.handlers.ingest.keeping import REJECTED, WAITING, take
from audit.handlers.ingest.landed import Landed
from audit.handlers.ingest.lines import Content
from audit.handlers.ingest.objects import at_once, keep
from audit.handlers.ingest.processor_rehearsal import play_processor
from audit.handlers.ingest.replay import replayed

RESERVE_MS = (
    10_000  # what one object may take; with less left, the rest of a batch waits for its next delivery
)

log = logging.getLogger(__name__)


class Poison(Exception):
    """An upload that this code stumbles over: its client's doing, as far as anybody can tell."""


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
    if key.startswith(f"{WAITING}/"):
        return  # `waiting` looks after what waits
    answer = s3().get_object(Bucket=bucket, Key=key, VersionId=version)
    landed = Landed(key, answer["LastModified"], answer["Metadata"], answer["Body"].read())
    try:
        # A thousand lines that are replayed, one after the other, would take longer than the function may.
        contents = at_once(take, replayed(landed)) if is_replay(landed.metadata) else [take(landed)]
    except Exception as error:
        if landed.post:
            publish({"Posts": 1, "PostsFailed": 1})
        if landed.post or isinstance(error, BotoCoreError | ClientError):
            raise
        if not last:
            raise Poison(f"{key}: {error}") from error
        log.exception("%s is kept as it came", key)
        contents = [Content()]
        contents[0].reject_all(landed, 1, f"could not be processed: {error}", landed.content)
        keep("ARCHIVE_BUCKET", f"{REJECTED}/{landed.application}/{landed.place}", contents[0].rejected)
    _count(landed, contents)


def _count(landed: Landed, contents: Sequence[Content]) -> None:
    counts = {
        "Archived": sum(len(events) for content in contents for events in content.tenants.values()),
        "Rejected": sum(len(content.rejected) for content in contents),
        "Waiting": sum(len(events) for content in contents for events in content.waiting.values()),
    }
    publish(counts, landed.application)
    if landed.post:
        publish({"Posts": 1, "PostsFailed": 0})
