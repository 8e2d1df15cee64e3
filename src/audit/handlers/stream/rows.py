"""Streams as they are kept: a row each, below their tenant, and one with the tenant's external id.

What a person changes has a `version`; what the sender changes it changes while it holds the lease. A secret is there as
KMS has encrypted it, for this very stream.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from typing import Any

import boto3
from boto3.dynamodb.conditions import Key
from botocore.exceptions import ClientError

from audit.handlers.common.aws import QUICK, setting, table
from audit.handlers.common.index import partition
from audit.handlers.stream.destinations import Kind
from audit.handlers.stream.health import Health

EXTERNAL = "_external"  # the sort key of a tenant's external id
LOST = "ConditionalCheckFailedException"


@dataclass(frozen=True)
class Stream:
    """A stream; `told` is what may be shown of its destination, `sealed` its secret, `position` that of the next entry
    of the tenant's log, `lease` the second until which a worker has it."""

    application: str
    tenant: str
    id: str
    kind: Kind
    told: Mapping[str, str]
    sealed: bytes
    created: int
    position: int
    health: Health = field(default_factory=Health)
    version: int = 0
    lease: int = 0

    @property
    def place(self) -> dict[str, str]:
        """Its key in the table."""
        return {"pk": partition(self.application, self.tenant), "sk": self.id}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Stream:
        """The stream that a row is."""
        application, _, tenant = row["pk"].partition("#")
        return cls(
            application,
            tenant,
            row["sk"],
            row["kind"],
            json.loads(row["told"]),
            bytes(row["sealed"]),
            int(row["created"]),
            int(row["position"]),
            _loaded(row["health"]),
            int(row["version"]),
            int(row["lease"]),
        )

    @property
    def row(self) -> dict[str, Any]:
        """As the table has it."""
        return {
            **self.place,
            "kind": self.kind,
            "told": json.dumps(self.told),
            "sealed": self.sealed,
            "created": self.created,
            "position": self.position,
            "health": _dumped(self.health),
            "version": self.version,
            "lease": self.lease,
        }


def add(stream: Stream) -> None:
    """Keep a new one."""
    _table().put_item(Item=stream.row)


def remove(stream: Stream) -> None:
    """Keep it no longer."""
    _table().delete_item(Key=stream.place)


def change(stream: Stream) -> bool:
    """Keep what a person has changed of it; False when another was faster."""
    names = {"#kind": "kind", "#version": "version"}
    values = {
        ":kind": stream.kind,
        ":told": json.dumps(stream.told),
        ":sealed": stream.sealed,
        ":health": _dumped(stream.health),
        ":next": stream.version + 1,
        ":version": stream.version,
    }
    return _updated(
        stream.place,
        "SET #kind = :kind, told = :told, sealed = :sealed, health = :health, #version = :next",
        "#version = :version",
        values,
        names,
    )


def found(application: str, tenant: str, identity: str) -> Stream | None:
    """A tenant's stream of that id; None when there is none."""
    key = {"pk": partition(application, tenant), "sk": identity}
    row = _table().get_item(Key=key, ConsistentRead=True).get("Item") if identity != EXTERNAL else None
    return Stream.of(row) if row else None


def of_tenant(application: str, tenant: str) -> list[Stream]:
    """A tenant's streams, the oldest first. They are few."""
    mine = Key("pk").eq(partition(application, tenant))
    rows = _table().query(KeyConditionExpression=mine, ConsistentRead=True)["Items"]
    return sorted(
        (Stream.of(row) for row in rows if row["sk"] != EXTERNAL), key=lambda one: (one.created, one.id)
    )


def every(kept: Any = None) -> Iterator[Stream]:
    """All streams of the cell; for who is no function of it, of that table."""
    asked: dict[str, Any] = {}
    while True:
        answer = (kept or _table()).scan(**asked)
        yield from (Stream.of(row) for row in answer["Items"] if row["sk"] != EXTERNAL)
        if "LastEvaluatedKey" not in answer:
            return
        asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def external_id(application: str, tenant: str) -> str:
    """What a tenant's own roles know this service by when it comes for that tenant; made once, none can guess it."""
    key = {"pk": partition(application, tenant), "sk": EXTERNAL}
    made = f"audit-{secrets.token_hex(16)}"
    answer = _table().update_item(
        Key=key,
        UpdateExpression="SET said = if_not_exists(said, :made)",
        ExpressionAttributeValues={":made": made},
        ReturnValues="ALL_NEW",
    )
    return str(answer["Attributes"]["said"])


def claim(place: Mapping[str, str], now: float, end: float) -> Stream | None:
    """A stream that nobody else works on until `end`; None when somebody does, or there is none."""
    try:
        answer = _table().update_item(
            Key=dict(place),
            UpdateExpression="SET lease = :end",
            ConditionExpression="lease < :now",
            ExpressionAttributeValues={":end": int(end) + 1, ":now": int(now)},
            ReturnValues="ALL_NEW",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != LOST:
            raise
        return None
    return Stream.of(answer["Attributes"])


def save(stream: Stream, *, last: bool = False) -> bool:
    """Keep how far a claimed stream is, and let it go if that was the `last`; whether it may be gone on with.

    What a person changed meanwhile stays; what has arrived has arrived all the same.
    """
    values = {
        ":position": stream.position,
        ":health": _dumped(stream.health),
        ":lease": 0 if last else stream.lease,
        ":mine": stream.lease,
        ":version": stream.version,
    }
    names = {"#position": "position", "#version": "version"}
    set_all = "SET #position = :position, health = :health, lease = :lease"
    if _updated(stream.place, set_all, "lease = :mine AND #version = :version", values, names):
        return not last
    left = {name: values[name] for name in (":position", ":mine")}
    _updated(
        stream.place,
        "SET #position = :position, lease = :none",
        "lease = :mine",
        {**left, ":none": 0},
        {"#position": "position"},
    )
    return False


def seal(stream: Stream, secret: str) -> Stream:
    """The stream with that secret."""
    answer = _kms().encrypt(
        KeyId=setting("STREAM_KEY"), Plaintext=secret.encode(), EncryptionContext=_bound_to(stream)
    )
    return replace(stream, sealed=answer["CiphertextBlob"])


def unseal(stream: Stream) -> str:
    """A stream's secret; "" when it has none."""
    if not stream.sealed:
        return ""
    answer = _kms().decrypt(
        KeyId=setting("STREAM_KEY"), CiphertextBlob=stream.sealed, EncryptionContext=_bound_to(stream)
    )
    text: bytes = answer["Plaintext"]
    return text.decode()


def forget() -> None:
    """Ask KMS anew at the next call."""
    _kms.cache_clear()


def _bound_to(stream: Stream) -> dict[str, str]:
    return {"stream": "/".join(stream.place.values())}


def _updated(
    place: Mapping[str, str],
    expression: str,
    condition: str,
    values: Mapping[str, Any],
    names: Mapping[str, str],
) -> bool:
    try:
        _table().update_item(
            Key=dict(place),
            UpdateExpression=expression,
            ConditionExpression=condition,
            ExpressionAttributeValues=dict(values),
            ExpressionAttributeNames=dict(names),
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != LOST:
            raise
        return False
    return True


def _dumped(health: Health) -> str:
    return json.dumps(asdict(health))


def _loaded(text: str) -> Health:
    """What a later release knew beside it is looked over: after a way back streams go on."""
    known = {one.name for one in fields(Health)}
    return Health(**{name: value for name, value in json.loads(text).items() if name in known})


def _table() -> Any:
    return table(setting("STREAMS_TABLE"))


@cache
def _kms() -> Any:
    return boto3.client("kms", config=QUICK)
