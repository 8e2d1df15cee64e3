"""What is stored of a cell's tenants, brought to the terms that they have now: ends lengthened, holds put and lifted.

Each object's index items first, then its log's places, its lock, its hold, and its tags last: an object whose tags say
what they should is done with. So a run that was killed is begun anew, and passes over what it had done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from audit.cells import InCell
from audit.handlers.common.directory import OBJECT, Directory
from audit.handlers.common.retention import (
    HELD,
    KEPT,
    NONE,
    Terms,
    attributes,
    class_of,
    end_in,
    end_of,
    is_held,
    lengthened,
    readable,
)
from audit.handlers.directory.snapshot import Refused, parsed
from audit.handlers.log.store import Store
from audit.repair import AT_ONCE, index_lines, pages
from cellwave.errors import CellwaveError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client


# Seconds: a function's copy of the directory, one that archives by it, and one that logs what was archived.
SETTLES = 300


@dataclass(frozen=True)
class Kept:
    """How an archived object is kept: its end, until when it is locked, whether a hold is on, and what its tags say."""

    end: int | None
    locked: int
    held: bool
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Keeper:
    """A cell's archive, index and logs; `mode` is the lock's where an object has none."""

    s3: S3Client
    archive: str
    index: Table
    store: Callable[[str, str], Store]
    mode: str

    def retain(self, known: Callable[[], Directory], now: float, prefix: str = "") -> Iterator[bool]:
        """Bring every object below `prefix` to its tenant's terms; yields of each whether there was anything to do.

        `known` is asked at every page: one that is begun before a hold and takes hours lifts none. Raises botocore's
        errors: begin again.
        """
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for keys in pages(self.s3, self.archive, prefix):
                yield from pool.map(partial(self._retain, known().terms, now), keys)

    def _retain(self, terms: Callable[[str, str], Terms], now: float, key: str) -> bool:
        application, tenant, _ = key.split("/", 2)
        answer = self.s3.head_object(Bucket=self.archive, Key=key)
        found, stored = self._found(key, answer), int(answer["LastModified"].timestamp())
        wanted = wanted_of(found, stored, terms(application, tenant), now)
        if wanted is None or wanted == found:
            return False
        body = self.s3.get_object(Bucket=self.archive, Key=key)["Body"].read()
        ids = index_lines(self.index, key, body.splitlines(), attributes(wanted.end, wanted.held))
        store = self.store(application, tenant)
        store.keep([replace(one, end=wanted.end) for one in store.places(ids).values()])
        self._lock(key, found, wanted, answer.get("ObjectLockMode") or self.mode)
        return True

    def _found(self, key: str, answer: Any) -> Kept:
        tags = self.s3.get_object_tagging(Bucket=self.archive, Key=key)["TagSet"]
        lock = answer.get("ObjectLockRetainUntilDate")
        return Kept(
            end_in(answer),
            int(lock.timestamp()) if lock else 0,
            is_held(answer),
            # One of a release of before has none.
            {KEPT: NONE, HELD: "no"} | {tag["Key"]: tag["Value"] for tag in tags},
        )

    def _lock(self, key: str, found: Kept, wanted: Kept, mode: Any) -> None:
        place: Any = {"Bucket": self.archive, "Key": key}
        if wanted.locked > found.locked:
            until = datetime.fromtimestamp(wanted.locked, UTC)
            self.s3.put_object_retention(**place, Retention={"Mode": mode, "RetainUntilDate": until})
        if wanted.held != found.held:
            self.s3.put_object_legal_hold(**place, LegalHold={"Status": "ON" if wanted.held else "OFF"})
        tags: Any = [{"Key": name, "Value": value} for name, value in sorted(wanted.tags.items())]
        self.s3.put_object_tagging(**place, Tagging={"TagSet": tags})


def in_force(at: InCell) -> Directory:
    """What the cell has been told of its tenants; CellwaveError when what is there is nothing of the kind."""
    answer = at.client("s3").get_object(Bucket=at.bucket("config"), Key=OBJECT)
    try:
        return Directory(parsed(answer["Body"].read(), answer["Metadata"]).applications)
    except Refused as error:
        raise CellwaveError(f"{at.cell.name} has no directory that can be read: {error}") from None


def settled(at: InCell, began: float) -> bool:
    """Whether all that was stored by what the cell was told before was stored and logged at that second."""
    told = at.client("s3").head_object(Bucket=at.bucket("config"), Key=OBJECT)["LastModified"]
    return bool(began - told.timestamp() >= SETTLES)


def keeper(at: InCell) -> Keeper:
    """Of a cell. Its bucket's own lock says in which mode objects are locked."""
    s3 = at.client("s3")
    archive = at.bucket("archive")
    lock = s3.get_object_lock_configuration(Bucket=archive)["ObjectLockConfiguration"]["Rule"]
    logs, places = at.bucket("log"), at.table("log")

    def store(application: str, tenant: str) -> Store:
        return Store(application, tenant, s3, logs, places)

    return Keeper(s3, archive, at.table("index"), store, lock["DefaultRetention"]["Mode"])


def wanted_of(found: Kept, stored: int, terms: Terms, now: float) -> Kept | None:
    """How an object that was stored at that second is to be kept; None when it has ended, and is left to its end.

    Pure. What has no end is locked for as long as the class says, all the same.
    """
    if not readable(found.end, now, terms.held):
        return _tagged(replace(found, held=False), stored) if found.held else None
    end = lengthened(found.end, stored, terms.kept)
    # By the end itself where there is one: clocks differ by a second.
    locked = max(found.locked, (end_of(terms.kept, stored) or 0) if end is None else end)
    return _tagged(replace(found, end=end, locked=locked, held=terms.held is not None), stored)


def _tagged(kept: Kept, stored: int) -> Kept:
    tags = {KEPT: class_of(kept.end, stored), HELD: "yes" if kept.held else "no"}
    return replace(kept, tags={**kept.tags, **tags})
