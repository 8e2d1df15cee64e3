"""What a question is answered: as many of its events as one answer may hold, and the cursor to go on by."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from audit.handlers.common.directory import Caller
from audit.handlers.common.fitting import fitting
from audit.handlers.common.index import event_of
from audit.handlers.query.reading import read_page
from audit.handlers.query.search import Search
from audit.handlers.query.shaping import shaped

MAX_PAGES = 10  # index pages read for one answer; past that the cursor says where to go on
MAX_SECONDS = 2.0  # of reading, likewise: words are looked for by the function itself


def answer(search: Search, caller: Caller) -> tuple[list[Mapping[str, Any]], str | None]:
    """The caller's events, newest first, and the cursor (None: there are no more)."""
    items, position = _read(search)
    events = fitting(shaped(caller, map(event_of, items), search.ocsf))
    if len(events) < len(items):
        position = str(items[len(events) - 1]["sk"])
    return events, search.cursor(position) if position else None


def _read(search: Search) -> tuple[list[Mapping[str, Any]], str | None]:
    """Up to `limit` items, and the sort key to go on after (None: there are no more)."""
    found: list[Mapping[str, Any]] = []
    position = search.start
    end = time.monotonic() + MAX_SECONDS
    for _ in range(MAX_PAGES):
        items, position = read_page(search, position)
        found += items
        if len(found) > search.limit:
            return found[: search.limit], str(found[search.limit - 1]["sk"])
        if position is None or time.monotonic() >= end:
            break
    return found, position
