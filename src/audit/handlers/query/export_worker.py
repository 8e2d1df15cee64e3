"""Makes the files of exports: a message an export, read page by page, written as a multipart upload.

After each part, and now and then between, what is done is saved: the worker may be killed at any instant, or come to
the end of its time, and whoever gets the message next goes on from there. Of a file nothing is seen before it is whole.

SQS may deliver a message twice, and a worker may be killed before its own is deleted: a message that is older than the
worker's is done with, and none that finds a worker there counts as a try.
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
from audit.handlers.log.attested import activities
from audit.handlers.query.formats import FORMATS, Draft, Format
from audit.handlers.query.jobs import FAILED, PENDING, READY, Row, file_of, search_of
from audit.handlers.query.reading import read_page

PART_BYTES = 8 * 1024 * 1024  # S3 takes none under 5 MB but the last, and a row has room for some 9,000 parts
SAVE_EVERY = 20  # pages
RESERVE = 20.0  # seconds that saving may take

log = logging.getLogger(__name__)
clock = time.time


@dataclass(frozen=True)
class Message:
    """Has a worker go on with the export at `place` in the table, that was handed on `turn` times until then.

    `tried` is how often somebody did for this turn, in vain.
    """

    place: Mapping[str, str]
    turn: int = 0
    tried: int = 0

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Message:
        """The message as Lambda has it. The first of an export has no attributes, nor has a dead letter sent back."""
        said = record.get("messageAttributes", {})
        turn, tried = (int(said.get(name, {}).get("stringValue", "0")) for name in ("turn", "tried"))
        received = int(record.get("attributes", {}).get("ApproximateReceiveCount", "1"))
        return cls(json.loads(record["body"]), turn, tried + received - 1)

    def send(self, wait: int = 0) -> None:
        """To come in so many seconds. What is said in attributes, a worker of before looks over."""
        said = {"turn": self.turn, "tried": self.tried}
        aws.sqs().send_message(
            QueueUrl=setting("EXPORTS_QUEUE"),
            MessageBody=json.dumps(self.place),
            MessageAttributes={
                name: {"DataType": "Number", "StringValue": str(n)} for name, n in said.items()
            },
            DelaySeconds=wait,
        )


@dataclass(frozen=True)
class Progress:
    """How far an export is: as its row says, and what is no part yet."""

    step: int
    rows: int
    position: str
    upload: str
    parts: tuple[str, ...]
    draft: Draft


def handler(event: Mapping[str, Any], context: Any) -> None:
    """Work on the exports of a batch, for as long as the function may run; raises to have the batch delivered again."""
    for record in event["Records"]:
        message = Message.of(record)
        end = clock() + context.get_remaining_time_in_millis() / 1000
        try:
            work(message, end)
        except Exception:
            if message.tried + 1 >= int(setting("TRIES")):
                _end(message.place, FAILED)
            raise


def work(message: Message, end: float) -> None:
    """Go on with an export until it is done, or hand it on before `end`."""
    row = _claim(message, end)
    if row is None:
        return
    form = FORMATS[row["format"]]
    done = _resumed(row, form)
    search = search_of(row)
    pages = 0
    while True:
        items, position = read_page(search, done.position or None)
        events = [event_of(item) for item in items]
        if form.ocsf:
            application, tenant = row["pk"].split("#")
            events = activities(application, tenant, events)
        done = replace(
            done,
            rows=done.rows + len(events),
            position=position or done.position,
            draft=form.add(done.draft, events),
        )
        if position is None:
            break
        pages += 1
        late = clock() > end - RESERVE
        if len(done.draft.ready) >= PART_BYTES:
            done = _save(row, _with_part(row, form, done), late)
        elif late or pages % SAVE_EVERY == 0:
            done = _save(row, done, late)
        if late:
            replace(message, turn=message.turn + 1, tried=0).send()
            return
    _finish(row, form, replace(done, draft=Draft(form.end(done.draft))))
    _end(message.place, READY, done.rows)


def _claim(message: Message, end: float) -> Row | None:
    """The export's row, which nobody else works on until `end`; None when this message has nothing to do with it."""
    now = clock()
    try:
        answer = table(setting("EXPORTS_TABLE")).update_item(
            Key=dict(message.place),
            UpdateExpression="SET lease = :end",
            ConditionExpression="#state = :pending AND lease < :now "
            "AND (turn = :turn OR attribute_not_exists(turn))",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={
                ":end": int(end) + 1,
                ":now": int(now),
                ":pending": PENDING,
                ":turn": message.turn,
            },
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        found: Any = error.response.get("Item", {})
        if found.get("state", {}).get("S") == PENDING:
            held, current = (int(found.get(name, {}).get("N", 0)) for name in ("lease", "turn"))
            _leave(message, current, held + 1 - int(now))
        return None
    return answer["Attributes"]


def _leave(message: Message, turn: int, held: int) -> None:
    """Leave a pending export, whose turn is that, to whoever holds it for so many seconds more.

    A message of the same turn comes again then, as a new one: deliveries are tries. An older one is of no use, since
    the worker has its own, but with no worker: that of a turn is sent after it is saved, and may never have been.
    """
    if message.turn == turn or held <= 0:
        log.warning("%s is gone on with in %d s", message.place["sk"], max(held, 0))
        tried = message.tried if message.turn == turn else 0
        replace(message, turn=turn, tried=tried).send(max(held, 0))


def _resumed(row: Row, form: Format) -> Progress:
    draft = form.begin()
    if row["carry"]:
        kept = aws.s3().get_object(Bucket=setting("EXPORTS_BUCKET"), Key=row["carry"])["Body"].read()
        draft = form.load(kept)
    elif row["step"]:
        draft = Draft(b"")
    return Progress(
        int(row["step"]), int(row["rows"]), row["position"], row["upload"], tuple(row["parts"]), draft
    )


def _with_part(row: Row, form: Format, done: Progress) -> Progress:
    """The bytes that are no part yet made the next part."""
    place: Any = {"Bucket": setting("EXPORTS_BUCKET"), "Key": file_of(row)}
    upload = done.upload
    if not upload:
        upload = aws.s3().create_multipart_upload(**place, ContentType=form.content_type)["UploadId"]
    number = len(done.parts) + 1
    answer = aws.s3().upload_part(**place, UploadId=upload, PartNumber=number, Body=done.draft.ready)
    left = replace(done.draft, ready=b"")
    return replace(done, upload=upload, parts=(*done.parts, answer["ETag"]), draft=left)


def _save(row: Row, done: Progress, last: bool) -> Progress:
    """Have whoever goes on begin here; the `last` save of a worker lets the export go."""
    carry = ""
    if kept := done.draft.dump():
        carry = f"_work/{file_of(row)}/{done.step + 1}"
        aws.s3().put_object(Bucket=setting("EXPORTS_BUCKET"), Key=carry, Body=kept)
    table(setting("EXPORTS_TABLE")).update_item(
        Key={"pk": row["pk"], "sk": row["sk"]},
        UpdateExpression="SET step = :next, #rows = :rows, #position = :position, upload = :upload, parts = :parts, "
        "carry = :carry, lease = :lease, turn = :turn",
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
            ":turn": int(row.get("turn", 0)) + last,
        },
    )
    return replace(done, step=done.step + 1)


def _finish(row: Row, form: Format, done: Progress) -> None:
    """Make the file whole; once more changes nothing."""
    place: Any = {"Bucket": setting("EXPORTS_BUCKET"), "Key": file_of(row)}
    if not done.upload:
        aws.s3().put_object(**place, Body=done.draft.ready, ContentType=form.content_type)
        return
    try:
        if done.draft.ready:
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
