"""What was rejected, as the archive has it: one object a landing object, a record a line (or many lines)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.index import event_id
from audit.handlers.ingest.keeping import REJECTED
from audit.handlers.ingest.objects import folders

# A name is percent-encoded: visible ASCII, and S3 is asked of nothing that it could not have.
_PLACE = re.compile(r"\d{4}/\d\d/\d\d/[!-.0-~]{1,800}", re.ASCII)


@dataclass(frozen=True)
class Record:
    """What was rejected, by `place` (day and name of the archive's object) and line.

    `source` is the landing object ("" where a release of before did not say), `identity` the id that the event has, or
    that its lines' ids are made of. `text` is for people, `content` the bytes that came; what is not `replayable` was
    refused as a whole, or its bytes are not all there.
    """

    place: str
    line: int
    time: datetime
    source: str
    identity: str
    reason: str
    text: str
    content: bytes
    replayable: bool


def is_place(text: object) -> bool:
    """Whether that can be a record's place."""
    return isinstance(text, str) and _PLACE.fullmatch(text) is not None


def is_kept(application: str, place: str) -> bool:
    """Whether anything was rejected there. Asked by a list: who may not see all is refused what there is not."""
    key = f"{REJECTED}/{application}/{place}"
    found = s3().list_objects_v2(Bucket=setting("ARCHIVE_BUCKET"), Prefix=key, MaxKeys=1)
    return [entry["Key"] for entry in found.get("Contents", ())] == [key]


def records(application: str, place: str) -> Iterator[Record]:
    """The records of a place in their order. Raises botocore's errors, also where there is none."""
    key = f"{REJECTED}/{application}/{place}"
    answer = s3().get_object(Bucket=setting("ARCHIVE_BUCKET"), Key=key)
    for whole in answer["Body"].iter_lines(64 * 1024):
        found = json.loads(whole)
        line, text = found["line"], found["text"]
        yield Record(
            place,
            line,
            answer["LastModified"],
            found.get("object", ""),
            found.get("eventId") or event_id(key, line, text.encode()),
            found["reason"],
            text,
            base64.b64decode(found["base64"]) if "base64" in found else text.encode(),
            # A release of before kept no bytes of what is no UTF-8.
            found.get("replayable", "base64" in found or "\ufffd" not in text),
        )


def places(application: str, after: str) -> Iterator[str]:
    """Where something was rejected: the newest day first, of a day by name; behind `after` only, if given."""
    base = f"{REJECTED}/{application}/"
    for day in _days(base, after[: len("yyyy/mm/dd")]):
        begin = base + after if after.startswith(day) else ""
        pages = (
            s3()
            .get_paginator("list_objects_v2")
            .paginate(Bucket=setting("ARCHIVE_BUCKET"), Prefix=f"{base}{day}/", StartAfter=begin)
        )
        for page in pages:
            yield from (found["Key"].removeprefix(base) for found in page.get("Contents", ()))


def _days(base: str, until: str, parent: str = "") -> Iterator[str]:
    """The days below, newest first: none newer than `until`, if given."""
    depth = parent.count("/")
    for name in reversed(folders("ARCHIVE_BUCKET", base + parent)):
        path = parent + name
        if until and path > until[: len(path)]:
            continue
        if depth == 2:
            yield path
        else:
            yield from _days(base, until, f"{path}/")
