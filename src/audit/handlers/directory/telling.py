"""What was done in the control plane to what is a tenant's is written into the tenant's log in this cell.

A snapshot tells it for two weeks; how far this cell has got stands beside the directory. Told twice, it is stored once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.internal import Actor, Internal, tell

OBJECT = "told.json"  # {"since": n, "id": of the last event that was told}
MOST = 500  # a call: the next minute goes on
AT_ONCE = 8

Position = tuple[int, str]


def tell_all(events: Sequence[Mapping[str, Any]]) -> int:
    """Write down what of a snapshot's events, which are in order, was not yet; how many. Raises botocore's errors, and
    ValueError for what is none."""
    if not events:
        return 0
    position = _position()
    new = [event for event in events if (event["since"], event["id"]) > position][:MOST]
    if new:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(_tell, new))
        place = {"since": new[-1]["since"], "id": new[-1]["id"]}
        s3().put_object(Bucket=setting("CONFIG_BUCKET"), Key=OBJECT, Body=json.dumps(place).encode())
    return len(new)


def _tell(event: Mapping[str, Any]) -> None:
    at = datetime.fromtimestamp(event["at"] / 1000, UTC)
    who = Actor("vendor-staff", event["actor"])
    tell(
        Internal(event["application"], event["tenant"], event["name"], who, at, event["id"], event["details"])
    )


def _position() -> Position:
    try:
        found = json.loads(s3().get_object(Bucket=setting("CONFIG_BUCKET"), Key=OBJECT)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return 0, ""
        raise
    return found["since"], found["id"]
