"""Makes the files of exports: a message an export, read page by page, written as a multipart upload.

After each part, and now and then between, what is done is saved: the worker may be killed at any instant, or come to
the end of its time, and whoever gets the message next goes on from there. Of a file nothing is seen before it is whole.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import ClientError

from audit.handlers.common import aws
from audit.handlers.common.aws import setting, table
from audit.handlers.common.index import event_of
from audit.handlers.query.formats import FORMATS, Format
from audit.handlers.query.jobs import FAILED, PENDING, READY, Row, file_of, search_of
from audit.handlers.query.reading import read_page

PART_BYTES = 8 * 1024 * 1024  # S3 takes none under 5 MB but the last, and a row has room for some 9,000 parts
SAVE_EVERY = 20  # pages
RESERVE = 20.0  # seconds that saving may take

log = logging.getLogger(__name__)
clock = time.time


class Busy(Exception):
    """Another worker is at it."""


@dataclass(frozen=True)
class Progress:
    """How far an export is: as its row says, and `unsaved`, the bytes that are no part yet."""

    step: int
    rows: int
    position: str
    upload: str
    parts: tuple[str, ...]
    unsaved: bytes


def handler(event: Mapping[str, Any], context: Any) -> dict[str, object]:
    """Work on the exports of a batch, for as long as the function may run; answers those that are another worker's now.

    Raises to have the batch delivered again.
    """
    busy = []
    for record in event["Records"]:
        place = json.loads(record["body"])
        received = int(record.get("attributes", {}).get("ApproximateReceiveCount", "1"))
        end = clock() + context.get_remaining_time_in_millis() / 1000
        try:
            work(place, end)
        except Busy as error:
            log.warning("%s", error)
            busy.append({"itemIdentifier": record["messageId"]})
        except Exception:
            if received >= int(setting("TRIES")):
                _end(place, FAILED)
            raise
    return {"batchItemFailures": busy}


def work(place: Mapping[str, str], end: float) -> None:
    """Go on with an export until it is done, or hand it on before `end`; raises Busy when another worker is at it."""
    row = _claim(place, end)
    if row is None:
        return
    form = FORMATS[row["format"]]
    done = _resumed(row, form)
    search = search_of(row)
    pages = 0
    while True:
        items, position = read_page(search, done.position or None)
        events = [event_of(item) for item in items]
        piece = form.piece(events)
        done = replace(
            done,
            rows=done.rows + len(events),
            position=position or done.position,
            unsaved=done.unsaved + piece,
        )
        if position is None:
            break
        pages += 1
        late = clock() > end - RESERVE
        if len(done.unsaved) >= PART_BYTES:
            done = _save(row, _with_part(row, form, done), late)
        elif late or pages % SAVE_EVERY == 0:
            done = _save(row, done, late)
        if late:
            aws.sqs().send_message(QueueUrl=setting("EXPORTS_QUEUE"), MessageBody=json.dumps(place))
            return
    _finish(row, form, done)
    _end(place, READY, done.rows)


def _claim(place: Mapping[str, str], end: float) -> Row | None:
    """The export's row, which nobody else works on until `end`; None when there is nothing to do any more."""
    now = clock()
    try:
        answer = table(setting("EXPORTS_TABLE")).update_item(
            Key=dict(place),
            UpdateExpression="SET lease = :end",
            ConditionExpression="#state = :pending AND lease < :now",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":end": int(end) + 1, ":now": int(now), ":pending": PENDING},
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        found: Any = error.response.get("Item", {})
        if found.get("state", {}).get("S") == PENDING:
            raise Busy(f"{place['sk']} is another worker's until {found['lease']}") from None
        return None
    return answer["Attributes"]


def _resumed(row: Row, form: Format) -> Progress:
    carry = form.begin()
    if row["carry"]:
        carry = aws.s3().get_object(Bucket=setting("EXPORTS_BUCKET"), Key=row["carry"])["Body"].read()
    elif row["step"]:
        carry = b""
    return Progress(
        int(row["step"]), int(row["rows"]), row["position"], row["upload"], tuple(row["parts"]), carry
    )


def _with_part(row: Row, form: Format, done: Progress) -> Progress:
    """What is no part yet made the next part."""
    place: Any = {"Bucket": setting("EXPORTS_BUCKET"), "Key": file_of(row)}
    upload = done.upload
    if not upload:
        upload = aws.s3().create_multipart_upload(**place, ContentType=form.content_type)["UploadId"]
    number = len(done.parts) + 1
    answer = aws.s3().upload_part(**place, UploadId=upload, PartNumber=number, Body=done.unsaved)
    return replace(done, upload=upload, parts=(*done.parts, answer["ETag"]), unsaved=b"")


def _save(row: Row, done: Progress, last: bool) -> Progress:
    """Have whoever goes on begin here; the `last` save of a worker lets the export go."""
    carry = ""
    if done.unsaved:
        carry = f"_work/{file_of(row)}/{done.step + 1}"
        aws.s3().put_object(Bucket=setting("EXPORTS_BUCKET"), Key=carry, Body=done.unsaved)
    table(setting("EXPORTS_TABLE")).update_item(
        Key={"pk": row["pk"], "sk": row["sk"]},
        UpdateExpression="SET step = :next, #rows = :rows, #position = :position, upload = :upload, parts = :parts, "
        "carry = :carry, lease = :lease",
        # Whoever has lost the export to another since saves nothing.
        ConditionExpression="step = :step AND lease = :mine",
        ExpressionAttributeNames={"#rows": "rows", "#position": "position"},
        ExpressionAttributeValues={
            ":step": done.step,
            ":next": done.step + 1,
            ":rows": done.rows,
            ":position": done.position,
            ":upload": done.upload,
            ":parts": list(done.parts),
            ":carry": carry,
            ":mine": row["lease"],
            ":lease": 0 if last else row["lease"],
        },
    )
    return replace(done, step=done.step + 1)


def _finish(row: Row, form: Format, done: Progress) -> None:
    """Make the file whole; once more changes nothing."""
    place: Any = {"Bucket": setting("EXPORTS_BUCKET"), "Key": file_of(row)}
    if not done.upload:
        aws.s3().put_object(**place, Body=done.unsaved, ContentType=form.content_type)
        return
    try:
        if done.unsaved:
            done = _with_part(row, form, done)
        parts: Any = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(done.parts, start=1)]
        aws.s3().complete_multipart_upload(**place, UploadId=done.upload, MultipartUpload={"Parts": parts})
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchUpload":
            raise
        # It was completed by a worker that could not say so any more.
        aws.s3().head_object(**place)


def _end(place: Mapping[str, str], state: str, rows: int | None = None) -> None:
    """Say how an export has ended, if nobody has."""
    count = {} if rows is None else {":rows": rows}
    try:
        table(setting("EXPORTS_TABLE")).update_item(
            Key=dict(place),
            UpdateExpression="SET #state = :state" + (", #rows = :rows" if count else ""),
            ConditionExpression="#state = :pending",
            ExpressionAttributeNames={"#state": "state"} | ({"#rows": "rows"} if count else {}),
            ExpressionAttributeValues={":state": state, ":pending": PENDING, **count},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
