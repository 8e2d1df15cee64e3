"""Keeping objects that are never put over others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Literal, TypeVar

from audit.handlers.common import once
from audit.handlers.common.aws import s3, setting
from audit.handlers.common.exact import write

Bucket = Literal["ARCHIVE_BUCKET", "LANDING_BUCKET"]  # the settings that name them
Result = TypeVar("Result")
AT_ONCE = 8


def keep(
    bucket: Bucket, key: str, lines: Sequence[object], how: Mapping[str, Any] | None = None
) -> tuple[str, bool]:
    """Keep lines as JSON lines under `key`; the key they are kept under, and whether they were not there before.

    What is already there stays. The same content again changes nothing; other content (a client used a name twice)
    is kept beside it, under a name that its digest makes the same at every delivery.
    """
    body = "".join(f"{write(line)}\n" for line in lines).encode()
    if put_new(bucket, key, body, how):
        return key, True
    if _content(bucket, key) == body:
        return key, False
    beside = f"{key.removesuffix('.jsonl')}.{hashlib.sha256(body).hexdigest()[:16]}.jsonl"
    return beside, put_new(bucket, beside, body, how)


def put_new(bucket: Bucket, key: str, body: bytes, how: Mapping[str, Any] | None = None) -> bool:
    """As `once.put_new`, by the bucket's setting."""
    return once.put_new(s3(), setting(bucket), key, body, how)


def folders(bucket: Bucket, prefix: str) -> list[str]:
    """The names of the folders right below a prefix, in the order of text."""
    return [name for names in folder_pages(bucket, prefix) for name in names]


def folder_pages(bucket: Bucket, prefix: str) -> Iterator[list[str]]:
    """As `folders`, as many a time as S3 answers."""
    pages = (
        s3().get_paginator("list_objects_v2").paginate(Bucket=setting(bucket), Prefix=prefix, Delimiter="/")
    )
    for page in pages:
        yield [found["Prefix"].removeprefix(prefix).rstrip("/") for found in page.get("CommonPrefixes", ())]


def at_once(call: Callable[[Any], Result], each: Iterable[object]) -> list[Result]:
    """Call for each, several at once and all of them; then raise what the first raised that failed."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        # In this one's context, or a rehearsal would have real objects put.
        calls = [pool.submit(copy_context().run, call, one) for one in each]
    return [done.result() for done in calls]


def _content(bucket: Bucket, key: str) -> bytes:
    return s3().get_object(Bucket=setting(bucket), Key=key)["Body"].read()
