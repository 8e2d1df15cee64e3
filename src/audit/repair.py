"""What a cell has to be helped with: an index made anew from the archive, dead letters sent back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from audit.handlers.common.directory import OBJECT, Directory
from audit.handlers.common.exact import read
from audit.handlers.common.guests import mark_of
from audit.handlers.common.index import item
from audit.handlers.common.retention import attributes, end_in, is_held, readable
from cellwave.errors import CellwaveError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

AT_ONCE = 8  # objects of the archive
BATCH = 10  # messages, as SQS has it
OBJECTS = 100  # in a message


def reindex(s3: S3Client, archive: str, index: Table, prefix: str = "") -> Iterator[int]:
    """Put every event of the archive's objects below `prefix` (`<application>/<tenant>/`) into the index.

    Yields the number of events of each object when they are in. An item is made of its line alone, so whatever stood in
    its place is what it should be afterwards, and a run that was killed is begun anew.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for keys in pages(s3, archive, prefix):
            yield from pool.map(lambda key: _index_object(s3, archive, index, key), keys)


def pages(s3: S3Client, archive: str, prefix: str) -> Iterator[list[str]]:
    """The keys of the archive's objects of events below `prefix`, a page at a time."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=archive, Prefix=prefix):
        # Folders of the archive's own (what was rejected) begin as no application does.
        yield [entry["Key"] for entry in page.get("Contents", ()) if not entry["Key"].startswith("_")]


def remark(s3: S3Client, config: str, index: Table, cell: str, found: Iterable[tuple[str, str]]) -> None:
    """Mark in an index who of these tenants is a guest in the cell, as its processor does: by its own directory."""
    content: Any = read(s3.get_object(Bucket=config, Key=OBJECT)["Body"].read().decode())
    known = Directory(content["applications"])
    for application, tenant in found:
        if cell not in (known.places(application, tenant) or (cell,)):
            index.put_item(Item=mark_of(application, tenant))


def listed(s3: S3Client, archive: str, prefix: str) -> dict[str, int]:
    """The archive's objects below `prefix`, with their sizes in bytes."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=archive, Prefix=prefix)
    return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", ())}


def tenants(s3: S3Client, archive: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(application, tenant) of whom the archive has objects of events below `prefix`, as `reindex` takes it."""
    if prefix.count("/") == 2:
        application, tenant, _ = prefix.split("/")
        yield application, tenant
        return
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=archive, Prefix=prefix, Delimiter="/"):
        for found in page.get("CommonPrefixes", ()):
            if not found["Prefix"].startswith("_"):
                yield from tenants(s3, archive, found["Prefix"])


def _index_object(s3: S3Client, archive: str, index: Table, key: str) -> int:
    answer = s3.get_object(Bucket=archive, Key=key)
    end, held = end_in(answer), is_held(answer)
    if not (held or readable(end, time.time())):
        return 0
    return len(index_lines(index, key, answer["Body"].read().splitlines(), attributes(end, held)))


def index_lines(index: Table, key: str, lines: Iterable[bytes], said: Mapping[str, int]) -> list[str]:
    """Put an archived object's events into the index, with what is said of their end; their ids."""
    ids = []
    with index.batch_writer(overwrite_by_pkeys=["pk", "sk"]) as batch:
        for line in lines:
            event: dict[str, Any] = read(line.decode())
            ids.append(str(event.pop("eventId")))
            batch.put_item(Item={**item(key.partition("/")[0], ids[-1], event), **said})
    return ids


def redrive(sqs: SQSClient, dead: str, queue: str) -> int:
    """Send what the queue of that URL gave up back to it; how many messages.

    No more than were there at the beginning: what is given up once more waits for the next time. One that is sent
    twice, since this was killed before it was deleted, changes nothing. Raises CellwaveError when none is taken.
    """
    about = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["ApproximateNumberOfMessages"])
    left = int(about["Attributes"]["ApproximateNumberOfMessages"])
    sent = 0
    while left > sent and (
        found := sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=min(BATCH, left - sent)).get(
            "Messages"
        )
    ):
        by_id = {str(number): message for number, message in enumerate(found)}
        answer = sqs.send_message_batch(
            QueueUrl=queue,
            Entries=[{"Id": one, "MessageBody": message["Body"]} for one, message in by_id.items()],
        )
        taken = [done["Id"] for done in answer.get("Successful", ())]
        if not taken:
            why = answer["Failed"][0].get("Message", "")
            raise CellwaveError(
                f"{queue} takes no message back: {why}", hint="the others stay where they were"
            )
        sqs.delete_message_batch(
            QueueUrl=dead,
            Entries=[{"Id": one, "ReceiptHandle": by_id[one]["ReceiptHandle"]} for one in taken],
        )
        sent += len(taken)
    return sent


def announce(s3: S3Client, sqs: SQSClient, archive: str, queue: str, prefix: str = "") -> Iterator[int]:
    """Tell the queue of that URL of every object of the archive below `prefix`, as S3 does of a new one.

    Yields the number of objects of each message when it is sent. Whoever is told twice does nothing twice.
    """
    for keys in pages(s3, archive, prefix):
        for begin in range(0, len(keys), OBJECTS):
            some = keys[begin : begin + OBJECTS]
            records = [{"s3": {"object": {"key": quote_plus(key, safe="/")}}} for key in some]
            sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"Records": records}))
            yield len(some)
