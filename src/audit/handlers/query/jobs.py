"""An export as the API and its worker know it: a row of the exports table, and the names that follow from it."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from audit.handlers.query.search import Search

PENDING, READY, FAILED = "pending", "ready", "error"
KEPT = 3 * 86400  # seconds that an export, and what is known of it, is kept
WITHIN = 86400  # seconds after which what is still pending never will be
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{16}", re.ASCII)

Row = Mapping[str, Any]


def new_row(search: Search, form: str, asked: Mapping[str, str], now: float) -> dict[str, Any]:
    """The row of an export that is begun now. Ids sort by time, and can't be guessed."""
    moment = datetime.fromtimestamp(now, UTC)
    return {
        "pk": search.partition,
        "sk": f"{moment:%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}",
        "state": PENDING,
        "format": form,
        "asked": json.dumps(asked),
        "search": json.dumps([search.filters, search.since, search.until]),
        "held": search.held,
        "created": int(now),
        "expires": int(now) + KEPT,
        # How often a worker has handed it on: the message that is to go on with it says as much.
        "turn": 0,
        # Where the worker is: after so many saves, behind that position, with these parts of that multipart upload,
        # and what is no part yet in an object beside.
        "step": 0,
        "rows": 0,
        "position": "",
        "upload": "",
        "parts": [],
        "carry": "",
        "lease": 0,
    }


def is_id(text: str) -> bool:
    """Whether a text can be the id of an export."""
    return _ID.fullmatch(text) is not None


def search_of(row: Row) -> Search:
    """What an export asks for."""
    filters, since, until = json.loads(row["search"])
    held = None if row.get("held") is None else int(row["held"])
    # A page holds as many items as DynamoDB reads at once.
    return Search(
        row["pk"], b"", tuple((name, value) for name, value in filters), since, until, limit=999, held=held
    )


def file_of(row: Row) -> str:
    """The object's key: below the tenant's own folder."""
    return f"{row['pk'].replace('#', '/')}/{row['sk']}.{row['format']}"


def state_of(row: Row, now: float) -> str:
    """`pending`, `ready` or `error`."""
    late = row["state"] == PENDING and now > int(row["created"]) + WITHIN
    return FAILED if late else str(row["state"])


def shown(row: Row, now: float) -> dict[str, Any]:
    """An export as its tenant sees it."""
    state = state_of(row, now)
    found = {
        "id": row["sk"],
        "state": state,
        "format": row["format"],
        "filters": json.loads(row["asked"]),
        "rows": int(row["rows"]),
        "created": when(int(row["created"])),
        "expires": when(int(row["expires"])),
    }
    return found | ({"reason": "it could not be made; ask for it again"} if state == FAILED else {})


def when(second: float) -> str:
    """A second since 1970 as RFC 3339."""
    return datetime.fromtimestamp(second, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
