"""Is every accepted event still there? Read back through the query API, and from the archive buckets."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import boto3
import httpx
from botocore.exceptions import ClientError

from audit.traffic.model import Accepted, Config, Customer
from audit.traffic.reading import READERS, Reader, id_of
from cellwave.fleet.model import Cell, Fleet
from cellwave.frozen import Frozen

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LOOK_AGAIN_S = 1.0


class Verification(Frozen):
    """What came of it: the ids that the query API, and the archives, don't have (sorted).

    `misplaced` are ids found in an archive under another application or tenant than the ledger's.
    """

    accepted: int
    missing_in_query: tuple[str, ...]
    missing_in_archive: tuple[str, ...]
    misplaced: tuple[str, ...]

    @property
    def lost(self) -> int:
        """How many accepted events are missing in one place or the other."""
        return len({*self.missing_in_query, *self.missing_in_archive})


def verify(events: Collection[Accepted], config: Config, fleet: Fleet, *, within_s: float) -> Verification:
    """Look for every event until all are found, or for `within_s` none more was (indexing is asynchronous).

    An event counts as readable only with its own tenant's key.
    """
    deadline = time.monotonic() + within_s
    applications = {e.application for e in events}
    archives = [
        _Archive(_s3(cell, fleet.role_arn(cell)), cell, applications) for cell in _cells(events, fleet)
    ]
    unread = {(e.application, e.tenant, e.id) for e in events}
    unarchived = {e.id for e in events}
    placed: dict[str, tuple[str, str]] = {}
    with (
        httpx.Client(timeout=30, trust_env=False) as client,
        ThreadPoolExecutor(READERS) as pool,
    ):
        reader = Reader(config.edge_url, client)
        while True:
            left = len(unread) + len(unarchived)
            for found in pool.map(lambda who: _readable(reader, *who), _waiting(unread, config)):
                unread -= found
            for more in pool.map(_Archive.read_new, archives if unarchived else ()):
                placed |= more
            unarchived -= placed.keys()
            if len(unread) + len(unarchived) < left:
                deadline = time.monotonic() + within_s
            if not (unread or unarchived) or time.monotonic() > deadline:
                break
            time.sleep(LOOK_AGAIN_S)
    expected = {e.id: (e.application, e.tenant) for e in events}
    return Verification(
        accepted=len(events),
        missing_in_query=tuple(sorted(identity for _, _, identity in unread)),
        missing_in_archive=tuple(sorted(unarchived)),
        misplaced=tuple(sorted(i for i, where in expected.items() if placed.get(i, where) != where)),
    )


def _waiting(unread: Collection[tuple[str, str, str]], config: Config) -> Iterator[tuple[Customer, str]]:
    """The tenants of which an event was not read yet."""
    tenants = {(application, tenant) for application, tenant, _ in unread}
    for customer in config.customers:
        for tenant in customer.tenants:
            if (customer.application, tenant) in tenants:
                yield customer, tenant


def _readable(reader: Reader, customer: Customer, tenant: str) -> set[tuple[str, str, str]]:
    try:
        return {(customer.application, tenant, id_of(event)) for event in reader.everything(customer, tenant)}
    except httpx.HTTPError:
        return set()


def _cells(events: Collection[Accepted], fleet: Fleet) -> list[Cell]:
    wanted = {event.region for event in events}
    return [cell for region in fleet.regions if region.name in wanted for cell in region.cells]


def _s3(cell: Cell, role: str | None) -> S3Client:
    """A client in the cell's account, through the role that opens it."""
    session = boto3.Session()
    if role is None:
        return session.client("s3", region_name=cell.aws_region)
    keys = session.client("sts").assume_role(RoleArn=role, RoleSessionName="audit-traffic")["Credentials"]
    return session.client(
        "s3",
        region_name=cell.aws_region,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


class _Archive:
    """One cell's archive bucket; every object is read once."""

    def __init__(self, s3: S3Client, cell: Cell, applications: Collection[str]) -> None:
        self._bucket = f"{cell.name}-{cell.account}-archive"
        self._applications = applications
        self._seen: set[str] = set()
        self._s3 = s3

    def read_new(self) -> dict[str, tuple[str, str]]:
        """(application, tenant) by id, for the events of objects that were not read before."""
        found = {}
        for key in self._new_keys():
            application, tenant, _ = key.split("/", 2)
            for line in self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].iter_lines():
                found[id_of(json.loads(line))] = (application, tenant)
            self._seen.add(key)
        return found

    def _new_keys(self) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2")
        try:
            return [
                content["Key"]
                for application in self._applications
                for page in pages.paginate(Bucket=self._bucket, Prefix=f"{application}/")
                for content in page.get("Contents", ())
                if content["Key"] not in self._seen and content["Key"].count("/") > 1
            ]
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchBucket":
                return []
            raise
