"""Internal events: what somebody did to what is a tenant's, written into that tenant's own log by the service itself.

One lies in the landing bucket, below a folder that no key of a customer's reaches, until the cell's `waiting` archives
and indexes it, within two minutes; from then on it is an event like any other. It is told apart by a field that no
customer's event may have.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.directory import Caller
from audit.handlers.common.events import is_application, problems
from audit.handlers.common.exact import read, write
from audit.handlers.common.once import put_new

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MARK = "serviceEvent"  # the field: true in an internal event, and refused in what a customer sends
# A release of before leaves alone what lies here, as what waits for a tenant that it does not know.
FOLDER = "_waiting/_internal"
PLACE = "_service"  # the folder in a tenant's part of the archive: a customer's own are days

ActorType = Literal["tenant-key", "application-key", "viewer-link", "vendor-staff", "service"]


@dataclass(frozen=True)
class Actor:
    """Who did something: one of the tenant's own keys, or of its application's (the beginning of its hash), who had a
    link to the viewer (what names the link), one of the vendor's people (by the name they gave), or the service by
    itself (the function's name)."""

    type: ActorType
    id: str

    @classmethod
    def of(cls, caller: Caller) -> Actor:
        """The key that calls, as `cellwave audit keys` shows it."""
        return cls("tenant-key" if caller.tenant else "application-key", caller.secret.hex()[:12])


@dataclass(frozen=True)
class Internal:
    """An internal event of a tenant. `name` begins with `audit.`; `identity` says with it which deed it is: told again,
    at the same time `at`, it is stored once, as it was told first."""

    application: str
    tenant: str
    name: str
    actor: Actor
    at: datetime
    identity: str
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def event_id(self) -> str:
        """The id that the event has."""
        what = "\n".join(("internal", self.application, self.tenant, self.name, self.identity))
        return hashlib.sha256(what.encode()).hexdigest()[:32]

    @property
    def event(self) -> dict[str, Any]:
        """The event as it is archived."""
        at = self.at.astimezone(UTC).isoformat(timespec="milliseconds")
        return {
            "eventId": self.event_id,
            "tenantId": self.tenant,
            "eventTime": at.replace("+00:00", "Z"),
            "eventName": self.name,
            "actor": {"id": self.actor.id[:256], "type": self.actor.type},
            MARK: True,
            "eventDetails": dict(self.details),
        }


def tell(event: Internal, client: S3Client | None = None, landing: str = "") -> None:
    """Write an internal event down: when this returns, it is durable. Call it before what it tells of is done.

    `client` and `landing` are for who is no function of the cell: S3 there, and the name of its landing bucket. Raises
    ValueError for what is no event, botocore's errors when it can't be written.
    """
    found = event.event
    if wrong := wrong_with(found, event.application, event.tenant):
        raise ValueError(f"{event.name}: {wrong}")
    day = f"{event.at.astimezone(UTC):%Y/%m/%d}"
    key = f"{FOLDER}/{event.application}/{event.tenant}/{day}/{event.event_id}.jsonl"
    put_new(client or s3(), landing or setting("LANDING_BUCKET"), key, f"{write(found)}\n".encode())


def wrong_with(event: object, application: str, tenant: str) -> str:
    """What keeps a parsed line from being an internal event of that tenant, in words; "" when nothing does."""
    if (
        not isinstance(event, dict)
        or event.get(MARK) is not True
        or not isinstance(event.get("eventId"), str)
    ):
        return f"it has no id, or is not marked as {MARK}"
    if not is_application(application) or event.get("tenantId") != tenant:
        return f"it is of tenant {json.dumps(event.get('tenantId'))}, and not of {application}/{tenant}"
    sent = {name: value for name, value in event.items() if name not in ("eventId", MARK)}
    return "; ".join(map(str, problems(sent)))


def parse(line: bytes, application: str, tenant: str) -> dict[str, Any]:
    """The internal event of that tenant that a line is; raises ValueError when it is none."""
    event: dict[str, Any] = read(line.decode())
    if wrong := wrong_with(event, application, tenant):
        raise ValueError(wrong)
    return event
