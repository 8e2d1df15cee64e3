"""Events that wait for their tenant: called once a minute, it replays those whose tenant is registered now, and takes
in internal events, which wait for nobody.

Once an hour, each tenant at a minute of its own, it gives up those that have waited for too long: they lie among what
was rejected then.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any, TypeVar
from urllib.parse import unquote
from zlib import crc32

from botocore.exceptions import ClientError

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.directory import newest_directory
from audit.handlers.common.events import is_application
from audit.handlers.common.exact import read, write
from audit.handlers.common.internal import FOLDER, PLACE, parse
from audit.handlers.common.metrics import publish
from audit.handlers.common.rehearsal import rehearsed
from audit.handlers.ingest.archive import archive, archive_first
from audit.handlers.ingest.keeping import REJECTED, SOURCE, WAITING, index
from audit.handlers.ingest.lines import Event
from audit.handlers.ingest.objects import at_once, folder_pages, folders, keep
from audit.handlers.ingest.waiting_rehearsal import play_waiting

PAGE = 200  # objects of a tenant, then it is the next one's turn
LARGE = 1024 * 1024  # bytes; parsed, an object may take twenty times as many, and several are read at once
WORK_SECONDS = 35.0  # then the next minute goes on; what is begun has time to end

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiter:
    """An object of events that wait, and since when it does."""

    key: str
    since: datetime
    size: int

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
Page = list[Waiter]
Each = TypeVar("Each")


@rehearsed(play_waiting)
def handler(event: Mapping[str, Any], _context: object = None) -> dict[str, object]:
    """Look after what waits; how many objects were `replayed`, `internal`, `rejected`, `failed`. Raises if any failed.

    `event` is a schedule's: its "time" is what it is called for.
    """
    until = time.monotonic() + WORK_SECONDS
    now = datetime.fromisoformat(event["time"])
    known = newest_directory()
    applications = filter(is_application, folders("LANDING_BUCKET", f"{WAITING}/"))
    strangers: list[Iterator[Page]] = []
    replays = in_turn([_replays(each, known.tenants(each), now, strangers) for each in applications])
    counts: Counter[str] = Counter()
    internal = _each(_take_internal, _portions(_pages(f"{FOLDER}/")))
    # Who is registered comes first: the others have days before they are lost.
    pages = chain(in_turn([internal, _each(_replay, replays)]), _each(_give_up, in_turn(strangers)))
    for do, page in pages:
        counts.update(filter(None, at_once(partial(_attempt, do, until), page)))
        if time.monotonic() >= until:
            break
    if counts["failed"]:
        raise RuntimeError(f"{counts['failed']} objects of what waits failed; the log says why")
    return {**counts}


def _each(do: Do, pages: Iterable[Page]) -> Iterator[tuple[Do, Page]]:
    return ((do, page) for page in pages)


def in_turn(sources: Iterable[Iterator[Each]]) -> Iterator[Each]:
    """What the sources have: of each that has any left one, again and again."""
    left = deque(sources)
    while left:
        source = left.popleft()
        for one in source:
            yield one
            left.append(source)
            break


def minute_of(application: str, tenant: str) -> int:
    """The minute of each hour in which a tenant's objects are looked at that may have waited for too long."""
    return crc32(f"{application}/{tenant}".encode()) % 60


def _replays(
    application: str, registered: Container[str], now: datetime, strangers: list[Iterator[Page]]
) -> Iterator[Page]:
    """What waits for an application's registered tenants, in turn; `strangers` gets what others have waited for too
    long. Whom it has invented may be a million: a page of names is a turn, too."""
    known: list[Iterator[Page]] = []
    overdue: list[Iterator[Page]] = []
    for names in folder_pages("LANDING_BUCKET", f"{WAITING}/{application}/"):
        for tenant in names:
            pages = _pages(f"{WAITING}/{application}/{tenant}/")
            if tenant in registered:
                known.append(_portions(pages))
            elif minute_of(application, tenant) == now.minute:
                overdue.append(_portions(_due(pages, now)))
        yield []
    strangers.append(in_turn(overdue))
    yield from in_turn(known)


def _pages(prefix: str) -> Iterator[Page]:
    """The objects below, PAGE a time: the oldest day first."""
    pages = (
        s3()
        .get_paginator("list_objects_v2")
        .paginate(Bucket=setting("LANDING_BUCKET"), Prefix=prefix, PaginationConfig={"PageSize": PAGE})
    )
    for page in pages:
        yield [
            Waiter(found["Key"], found["LastModified"], found["Size"]) for found in page.get("Contents", ())
        ]


def _portions(pages: Iterator[Page]) -> Iterator[Page]:
    """Large ones alone, so that one at a time is in memory, and each is a turn."""
    for page in pages:
        yield [waiter for waiter in page if waiter.size <= LARGE]
        yield from ([waiter] for waiter in page if waiter.size > LARGE)


def _due(pages: Iterator[Page], now: datetime) -> Iterator[Page]:
    """Those that have waited for too long, up to the first page that has none."""
    for page in pages:
        due = [waiter for waiter in page if waiter.due <= now]
        if not due:
            return
        yield due


def _attempt(do: Do, until: float, waiter: Waiter) -> str:
    """What came of it: "" when the time is over. One that fails keeps no other from it, and is done again when its turn
    comes again."""
    if time.monotonic() >= until:
        return ""
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
    said = archive(waiter.application, waiter.tenant, waiter.key.removeprefix(f"{WAITING}/"), lines)
    index(waiter.application, [(events, said)])
    _forget(waiter)
    publish({"Archived": len(events)}, waiter.application)
    return "replayed"


def _take_internal(waiter: Waiter) -> str:
    """As a replay; but whatever was told first stands, however often it is told and in what words."""
    application, tenant, name = waiter.key.removeprefix(f"{FOLDER}/").split("/", 2)
    place = f"{application}/{tenant}/{PLACE}/{name}"
    body = s3().get_object(Bucket=setting("LANDING_BUCKET"), Key=waiter.key)["Body"].read()
    # Who may write there is no cell's customer, and still writes no event but this tenant's, marked as what it is.
    parse(body, application, tenant)
    said = archive_first(application, tenant, place, body)
    body = s3().get_object(Bucket=setting("ARCHIVE_BUCKET"), Key=place)["Body"].read()
    event = parse(body, application, tenant)
    index(application, [([(event.pop("eventId"), event)], said)])
    _forget(waiter)
    publish({"Archived": 1}, application)
    return "internal"


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
