"""The directory of a cell: called once a minute, it brings the control plane's newest snapshot into the cell.

What can't be had or may not be taken changes nothing: the last good snapshot serves on, and `Stale` says so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from audit.handlers.common.aws import QUICK, REGIONAL, s3, setting
from audit.handlers.common.directory import OBJECT, Directory
from audit.handlers.common.metrics import publish
from audit.handlers.directory.snapshot import (
    ALGORITHM,
    Refused,
    Snapshot,
    mac_of,
    message_of,
    parsed,
)
from audit.handlers.directory.telling import tell_all

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)


def handler(_event: object = None, _context: object = None) -> dict[str, object]:
    """Bring what is newer: {"version"}, and {"stale": why} where the last good one serves on.

    Raises when nothing serves: a cell that nobody was ever told to it is not ready.
    """
    kept, etag = _kept()
    try:
        serves = bring(kept, etag)
    except (BotoCoreError, ClientError, Refused) as error:
        log.warning("the directory stays at version %s: %s", kept.version, error)
        publish({"Pulls": 1, "Stale": 1})
        if not (kept.version or kept.applications):
            raise
        return {"version": kept.version, "stale": str(error)}
    publish({"Pulls": 1, "Stale": 0})
    # After the keys, which matter more; what fails here is this function's error, and is done in the next minute.
    tell_all([event for event in serves.events if _is_told_here(serves, event)])
    return {"version": serves.version}


def _is_told_here(serves: Snapshot, event: Mapping[str, Any]) -> bool:
    """Of several cells the home alone tells a tenant's log: told in another, its tenant would be a guest there."""
    places = Directory(serves.applications).places(event["application"], event["tenant"])
    return not places or places[0] == setting("CELL")


def _kept() -> tuple[Snapshot, str]:
    """What serves, and its ETag. What somebody has broken is as good as nothing: whatever is newest takes its place."""
    answer = s3().get_object(Bucket=setting("CONFIG_BUCKET"), Key=OBJECT)
    try:
        return parsed(answer["Body"].read(), answer["Metadata"]), answer["ETag"]
    except Refused as error:
        log.warning("what the cell has is no good: %s", error)
        return Snapshot("", 0, {}, b"", ""), answer["ETag"]


def bring(kept: Snapshot, etag: str) -> Snapshot:
    """Put the control plane's snapshot in the kept one's place, if it is newer; the one that serves then.

    Raises Refused for one that may not be taken, and botocore's errors for one that can't be had.
    """
    control = _Control()
    offered = control.newest(setting("CONTROL_OBJECT"))
    if offered is None and kept.version == 0:
        return kept  # nobody was ever told anything
    if offered is None:
        raise Refused("there is no snapshot any more")
    if offered.body == kept.body:
        return kept
    control.verify(offered)
    _refuse_unfit(offered, kept)
    tags = s3().get_object_tagging(Bucket=setting("CONFIG_BUCKET"), Key=OBJECT)["TagSet"]
    s3().put_object(
        Bucket=setting("CONFIG_BUCKET"),
        Key=OBJECT,
        Body=offered.body,
        # All but the content is as the storage's stack made it, and finds it.
        ContentType="application/json",
        Tagging=urlencode({tag["Key"]: tag["Value"] for tag in tags}),
        IfMatch=etag,  # a pull that was faster may have brought a newer one
    )
    return offered


def _refuse_unfit(offered: Snapshot, kept: Snapshot) -> None:
    if offered.region != setting("PRODUCT_REGION"):
        raise Refused(f"the snapshot is of region {offered.region}")
    if offered.version <= kept.version:
        raise Refused(f"the snapshot is of version {offered.version}, which is no newer than {kept.version}")


class _Control:
    """What the control plane lets the cells of a product region do: read its snapshot, and have its MAC verified."""

    def __init__(self) -> None:
        found = boto3.client("sts", config=QUICK).assume_role(
            RoleArn=setting("CONTROL_ROLE"), RoleSessionName="directory"
        )["Credentials"]
        # Of the process's own session, which has read boto3's models once: a session a minute would read them anew.
        self._client: Any = partial(
            boto3.client,
            region_name=setting("CONTROL_REGION"),
            aws_access_key_id=found["AccessKeyId"],
            aws_secret_access_key=found["SecretAccessKey"],
            aws_session_token=found["SessionToken"],
        )

    def newest(self, name: str) -> Snapshot | None:
        """The snapshot as it is offered; None when there is none."""
        client: S3Client = self._client("s3", config=QUICK.merge(REGIONAL))
        try:
            answer = client.get_object(Bucket=setting("CONTROL_BUCKET"), Key=name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        return parsed(answer["Body"].read(), answer["Metadata"])

    def verify(self, snapshot: Snapshot) -> None:
        """Raises Refused unless the control plane has made the snapshot's MAC."""
        kms = self._client("kms", config=QUICK)
        asked: Mapping[str, Any] = {
            "KeyId": setting("CONTROL_KEY"),
            "MacAlgorithm": ALGORITHM,
            "Message": message_of(snapshot.body),
            "Mac": mac_of(snapshot),
        }
        try:
            kms.verify_mac(**asked)
        except kms.exceptions.KMSInvalidMacException:
            raise Refused("the snapshot's signature is wrong") from None
