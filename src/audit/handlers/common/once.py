"""Objects that are put where none is, and never over another."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TRIES = 4
_BUSY = "ConditionalRequestConflict"  # S3 is asked to put or delete that object right now


def put_new(
    client: S3Client, bucket: str, key: str, body: bytes, how: Mapping[str, Any] | None = None
) -> bool:
    """Whether the object was written, `how` boto3's put is told beside this; False when there is one of that name.

    ClientError or BotoCoreError when S3 can't tell.
    """
    for attempt in range(TRIES):
        try:
            client.put_object(
                Bucket=bucket,
                Key=key,
                Body=body,
                ContentType="application/jsonl",
                IfNoneMatch="*",
                # Object Lock wants a checksum with every put.
                ChecksumAlgorithm="SHA256",
                **(how or {}),
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
