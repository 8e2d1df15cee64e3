"""The archive: an object of one tenant's events, locked for as long as its class says, and never replaced."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.directory import directory
from audit.handlers.common.retention import HELD, KEPT, NONE, Terms, attributes, end_in, end_of
from audit.handlers.ingest.objects import keep, put_new

clock = time.time


def archive(application: str, tenant: str, key: str, lines: Sequence[object]) -> dict[str, int]:
    """Keep a tenant's events under that key, as `keep` does; what the index is to say of their end.

    What is there already keeps the end that it has.
    """
    terms = directory().terms(application, tenant)
    end = end_of(terms.kept, int(clock()))
    place, new = keep("ARCHIVE_BUCKET", key, lines, locked(terms, end))
    return _said(terms, end, place, new)


def archive_first(application: str, tenant: str, key: str, body: bytes) -> dict[str, int]:
    """As `archive`, of an object that is whatever was put there first."""
    terms = directory().terms(application, tenant)
    end = end_of(terms.kept, int(clock()))
    return _said(terms, end, key, put_new("ARCHIVE_BUCKET", key, body, locked(terms, end)))


def _said(terms: Terms, end: int | None, key: str, new: bool) -> dict[str, int]:
    if not new:
        end = end_in(s3().head_object(Bucket=setting("ARCHIVE_BUCKET"), Key=key))
    return attributes(end, terms.held is not None)


def locked(terms: Terms, end: int | None) -> Mapping[str, Any]:
    """How an object of that end is put. Without a class, the bucket's own lock is the object's."""
    held = terms.held is not None
    how: dict[str, Any] = {
        "Metadata": {KEPT: terms.kept or NONE},
        "Tagging": urlencode({KEPT: terms.kept or NONE, HELD: "yes" if held else "no"}),
    }
    if end is not None:
        how |= {
            "ObjectLockMode": setting("ARCHIVE_LOCK"),
            "ObjectLockRetainUntilDate": datetime.fromtimestamp(end, UTC),
        }
    return how | ({"ObjectLockLegalHoldStatus": "ON"} if held else {})
