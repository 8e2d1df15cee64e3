"""Writing the archive: every object once, never over another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from botocore.exceptions import ClientError

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.exact import write


def archive(key: str, lines: Sequence[object]) -> str:
    """Keep lines as JSON lines under `key`, and return the key they are kept under.

    What is already there stays. The same content again changes nothing; other content (a client used a name twice)
    is kept beside it, under a name that its digest makes the same at every delivery.
    """
    body = "".join(f"{write(line)}\n" for line in lines).encode()
    if _put_new(key, body) or _content(key) == body:
        return key
    beside = f"{key.removesuffix('.jsonl')}.{hashlib.sha256(body).hexdigest()[:16]}.jsonl"
    _put_new(beside, body)
    return beside


def _put_new(key: str, body: bytes) -> bool:
    """Whether the object was written; False when there is one of that name."""
    try:
        s3().put_object(
            Bucket=setting("ARCHIVE_BUCKET"),
            Key=key,
            Body=body,
            ContentType="application/jsonl",
            IfNoneMatch="*",
            # Object Lock wants a checksum with every put.
            ChecksumAlgorithm="SHA256",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "PreconditionFailed":
            return False
        raise
    return True


def _content(key: str) -> bytes:
    return s3().get_object(Bucket=setting("ARCHIVE_BUCKET"), Key=key)["Body"].read()
