"""Putting objects that are never put over others."""

from __future__ import annotations

import time
from collections.abc import Mapping

from botocore.exceptions import ClientError

from audit.handlers.common.aws import s3, setting

TRIES = 4
_BUSY = "ConditionalRequestConflict"  # S3 is asked to put or delete that object right now


def put_new(bucket: str, key: str, body: bytes, metadata: Mapping[str, str] | None = None) -> bool:
    """Whether the object was written; False when there is one of that name.

    `bucket` is the setting that names it. ClientError or BotoCoreError when S3 can't tell.
    """
    for attempt in range(TRIES):
        try:
            s3().put_object(
                Bucket=setting(bucket),
                Key=key,
                Body=body,
                ContentType="application/jsonl",
                IfNoneMatch="*",
                Metadata=dict(metadata or {}),
                # Object Lock wants a checksum with every put.
                ChecksumAlgorithm="SHA256",
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "PreconditionFailed":
                return False
            if code != _BUSY or attempt == TRIES - 1:
                raise
            time.sleep(0.1 * 2**attempt)
        else:
            return True
    raise AssertionError("the last attempt has raised")
