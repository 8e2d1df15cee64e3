"""Writing the archive: every object once, never over another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.exact import write
from audit.handlers.ingest.objects import put_new

BUCKET = "ARCHIVE_BUCKET"


def archive(key: str, lines: Sequence[object]) -> str:
    """Keep lines as JSON lines under `key`, and return the key they are kept under.

    What is already there stays. The same content again changes nothing; other content (a client used a name twice)
    is kept beside it, under a name that its digest makes the same at every delivery.
    """
    body = "".join(f"{write(line)}\n" for line in lines).encode()
    if put_new(BUCKET, key, body) or _content(key) == body:
        return key
    beside = f"{key.removesuffix('.jsonl')}.{hashlib.sha256(body).hexdigest()[:16]}.jsonl"
    put_new(BUCKET, beside, body)
    return beside


def _content(key: str) -> bytes:
    return s3().get_object(Bucket=setting(BUCKET), Key=key)["Body"].read()
