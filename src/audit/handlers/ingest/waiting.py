"""Events that wait for their tenant: called once a minute, it replays those whose tenant is registered now.

Once an hour, each tenant at a minute of its own, it gives up those that have waited for too long: they lie among what
was rejected then.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import unquote
from zlib import crc32

from botocore.exceptions import ClientError

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.directory import newest_directory
from audit.handlers.common.exact import read, write
from audit.handlers.common.metrics import publish
from audit.handlers.common.rehearsal import rehearsed
from audit.handlers.ingest.keeping import REJECTED, SOURCE, WAITING, index
from audit.handlers.ingest.lines import Event
from audit.handlers.ingest.objects import at_once, folders, keep
from audit.handlers.ingest.waiting_rehearsal import play_waiting

PAGE = 200  # objects of a tenant, then it is the next one's turn
WORK_SECONDS = 35.0  # then the next minute goes on; what is begun has time to end

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiter:
    """An object of events that wait, and since when it does."""

    key: str
    since: datetime

    @property
    def application(self) -> str:
        """Whose events they are."""
        return self.key.split("/")[1]

    @property
    def tenant(self) -> str:
        """Whom they wait for."""
        return self.key.split("/")[2]

    @property
    def due(self) -> datetime:
        """Until when they wait."""
        return self.since + timedelta(days=int(setting("WAITING_DAYS")))


Do = Callable[[Waiter], str]


class Turns:
    """The tenants that are waited for, each with what to do to its objects, a page of them a turn."""

    def __init__(self) -> None:
        self._left: deque[tuple[Do, Iterator[list[Waiter]]]] = deque()

    def add(self, do: Do, pages: Iterator[list[Waiter]]) -> None:
        """One more tenant."""
        self._left.append((do, pages))

    def take(self, until: float) -> Counter[str]:
        """Take turns until none is left, or that moment of time.monotonic(); how many objects came to what."""
        counts: Counter[str] = Counter()
        while self._left and time.monotonic() < until:
            do, pages = self._left.popleft()
            page = next(pages, None)
            if page is not None:
                counts.update(at_once(partial(_attempt, do), page))
                self._left.append((do, pages))
        return counts


@rehearsed(play_waiting)
def handler(event: Mapping[str, Any], _context: object = None) -> dict[str, object]:
    """Look after what waits; how many objects were `replayed`, `rejected` or `failed`. Raises when any failed.

    `event` is a schedule's: its "time" is what it is called for.
    """
    now = datetime.fromisoformat(event["time"])
    known = newest_directory()
    turns = Turns()
    for application in folders("LANDING_BUCKET", f"{WAITING}/"):
        for tenant in folders("LANDING_BUCKET", f"{WAITING}/{application}/"):
            pages = _pages(f"{WAITING}/{application}/{tenant}/")
            if tenant in known.tenants(application):
                turns.add(_replay, pages)
            elif minute_of(application, tenant) == now.minute:
                turns.add(_give_up, _due(pages, now))
    counts = turns.take(time.monotonic() + WORK_SECONDS)
    if counts["failed"]:
        raise RuntimeError(f"{counts['failed']} objects of what waits failed; the log says why")
    return {**counts}


def minute_of(application: str, tenant: str) -> int:
    """The minute of each hour in which a tenant's objects are looked at that may have waited for too long."""
    return crc32(f"{application}/{tenant}".encode()) % 60


def _pages(prefix: str) -> Iterator[list[Waiter]]:
    """The objects below, PAGE a time: the oldest day first."""
    pages = (
        s3()
        .get_paginator("list_objects_v2")
        .paginate(Bucket=setting("LANDING_BUCKET"), Prefix=prefix, PaginationConfig={"PageSize": PAGE})
    )
    for page in pages:
        yield [Waiter(found["Key"], found["LastModified"]) for found in page.get("Contents", ())]


def _due(pages: Iterator[list[Waiter]], now: datetime) -> Iterator[list[Waiter]]:
    """Those that have waited for too long, up to the first page that has none."""
    for page in pages:
        due = [waiter for waiter in page if waiter.due <= now]
        if not due:
            return
        yield due


def _attempt(do: Do, waiter: Waiter) -> str:
    """What came of it. One that fails keeps no other from it, and is done again when its turn comes again."""
    try:
        return do(waiter)
    except Exception as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] == "NoSuchKey":
            return "gone"  # a call that overlaps with this one was faster
        log.exception("%s failed", waiter.key)
        return "failed"


def _replay(waiter: Waiter) -> str:
    """Archive, index, and only then forget: a second time, by whomever, changes nothing."""
    events, _ = _read(waiter)
    lines = [{"eventId": identity, **event} for identity, event in events]
    keep("ARCHIVE_BUCKET", waiter.key.removeprefix(f"{WAITING}/"), lines)
    index(waiter.application, events)
    _forget(waiter)
    publish({"Archived": len(events)}, waiter.application)
    return "replayed"


def _give_up(waiter: Waiter) -> str:
    """Keep among what was rejected, under the day that they were due, and only then forget."""
    events, source = _read(waiter)
    name = waiter.key.rpartition("/")[2]
    reason = f"tenantId: {waiter.tenant} was not registered within {setting('WAITING_DAYS')} days"
    records = [
        {"object": source, "line": number, "eventId": identity, "reason": reason, "text": write(event)}
        for number, (identity, event) in enumerate(events, start=1)
    ]
    place = f"{waiter.due:%Y/%m/%d}/{waiter.tenant}.{name}"
    keep("ARCHIVE_BUCKET", f"{REJECTED}/{waiter.application}/{place}", records)
    _forget(waiter)
    publish({"Rejected": len(events)}, waiter.application)
    return "rejected"


def _read(waiter: Waiter) -> tuple[list[Event], str]:
    """Its events, and the object that they came in."""
    answer = s3().get_object(Bucket=setting("LANDING_BUCKET"), Key=waiter.key)
    events: list[Event] = []
    for line in answer["Body"].read().splitlines():
        event = read(line.decode())
        events.append((event.pop("eventId"), event))
    return events, unquote(answer["Metadata"].get(SOURCE, ""))


def _forget(waiter: Waiter) -> None:
    s3().delete_object(Bucket=setting("LANDING_BUCKET"), Key=waiter.key)
