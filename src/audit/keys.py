"""Keys and tenants, in the control plane's tables. What is done here no cell knows of before the next `publish`."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.exceptions import ClientError

from audit.handlers.common.directory import UNNAMED, Kind
from audit.notes import TENANTS_TABLE, note
from audit.publish import KEYS_TABLE, scanned
from cellwave.errors import BadInput

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

SHORTEST_HASH = 8  # characters of a hash that name a key, if no other's begins so


@dataclass(frozen=True)
class Key:
    """What is known of a key: never the key itself.

    `regions` are the product regions whose cells are told of it, none: all of them. `expires` is the second (since
    1970) from which on it is of no use; None when it lasts. `lasts` are the seconds that it was given
    for, None: for ever; a rotation moves the end and leaves that alone.
    """

    hash: str
    application: str
    tenant: str | None
    scopes: tuple[str, ...]
    created: int
    regions: tuple[str, ...] = ()
    expires: int | None = None
    lasts: int | None = None

    @property
    def kind(self) -> Kind:
        """Whose key it is."""
        return "application" if self.tenant is None else "tenant"

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """The key of an item of the table; one of before names no scopes, nor how long it was given for."""
        tenant = item.get("tenantId")
        created = int(datetime.fromisoformat(item["createdAt"]).timestamp())
        expires = int(item["expires"]) if "expires" in item else None
        # Whether somebody rotated one of before is not known: its successor rather ends too soon than never.
        lasts = item.get("lasts", None if expires is None else expires - created)
        return cls(
            hash=str(item["hash"]),
            application=str(item["applicationId"]),
            tenant=tenant,
            scopes=tuple(item.get("scopes") or UNNAMED["tenant" if tenant else "application"]),
            created=created,
            regions=tuple(item.get("regions", ())),
            expires=expires,
            lasts=None if lasts is None else int(lasts),
        )

    @property
    def item(self) -> dict[str, Any]:
        """The key as the table has it."""
        found: dict[str, Any] = {
            "hash": self.hash,
            "kind": self.kind,
            "applicationId": self.application,
            "scopes": sorted(self.scopes),
            "createdAt": datetime.fromtimestamp(self.created, UTC).isoformat(),
            "lasts": self.lasts,
        }
        if self.tenant is not None:
            found["tenantId"] = self.tenant
        if self.regions:
            found["regions"] = sorted(self.regions)
        if self.expires is not None:
            found["expires"] = self.expires
        return found


def make_key(
    application: str,
    tenant: str | None = None,
    regions: Sequence[str] = (),
    scopes: Sequence[str] = (),
    lasts: int | None = None,
) -> str:
    """Make a key and return it; only its hash is kept. A tenant's registers the tenant to the application.

    `regions`: none named are all. `scopes`: none named are those that its kind has by itself. `lasts`: seconds.
    """
    secret = secrets.token_urlsafe(32)
    credential = ",".join(part for part in (application, tenant, secret) if part is not None)
    now = int(time.time())
    key = Key(
        hash=hashlib.sha256(credential.encode()).hexdigest(),
        application=application,
        tenant=tenant,
        scopes=tuple(scopes) or UNNAMED["tenant" if tenant else "application"],
        created=now,
        regions=tuple(regions),
        expires=None if lasts is None else now + lasts,
        lasts=lasts,
    )
    if tenant is not None:
        place = {"applicationId": application, "tenantId": tenant}
        if "Item" not in _table(TENANTS_TABLE).get_item(Key=place, ConsistentRead=True):
            note(application, tenant, "audit.tenant.registered", {}, regions)
            _register(place)
    _note(key, "audit.key.created")
    _table(KEYS_TABLE).put_item(Item=key.item)
    return base64.b64encode(credential.encode()).decode()


def _register(place: Mapping[str, str]) -> None:
    """Unless somebody was faster: the row may have terms by now."""
    try:
        _table(TENANTS_TABLE).put_item(Item=place, ConditionExpression="attribute_not_exists(tenantId)")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise


def list_keys() -> list[Key]:
    """All keys, by application and tenant, the oldest first."""
    keys = map(Key.of, scanned(KEYS_TABLE))
    return sorted(keys, key=lambda key: (key.application, key.tenant or "", key.created, key.hash))


def find(named: Sequence[str], keys: Collection[Key]) -> list[Key]:
    """The keys of these hashes, or of what they begin with, each once; BadInput for one that is not there, or is two.

    Pure.
    """
    found = []
    for text in named:
        fitting = [key for key in keys if len(text) >= SHORTEST_HASH and key.hash.startswith(text)]
        if len(fitting) != 1:
            why = f"found {text!r}, which {len(fitting)} keys begin with" if fitting else f"found {text!r}"
            raise BadInput(
                "HASH", why, f"what a hash of `cellwave audit keys` begins with, {SHORTEST_HASH} or more"
            )
        found += fitting
    return list(dict.fromkeys(found))


def successor(key: Key) -> str:
    """Make a key that does what this one does, for as long as that was given for, and return it."""
    return make_key(key.application, key.tenant, key.regions, key.scopes, key.lasts)


def end(key: Key, at: int) -> None:
    """Let a key end at that second, if it would not before; nothing is done to one that is revoked."""
    _note(replace(key, expires=at), "audit.key.rotated")
    try:
        _table(KEYS_TABLE).update_item(
            Key={"hash": key.hash},
            # One of before is told by its end how long it was given for, so that has to be kept first.
            UpdateExpression="SET expires = :at, lasts = if_not_exists(lasts, :lasts)",
            ConditionExpression="attribute_exists(#hash) AND (attribute_not_exists(expires) OR expires > :at)",
            ExpressionAttributeNames={"#hash": "hash"},
            ExpressionAttributeValues={":at": at, ":lasts": key.lasts},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise


def revoke(key: Key) -> None:
    """Take a key away."""
    _note(key, "audit.key.revoked")
    _table(KEYS_TABLE).delete_item(Key={"hash": key.hash})


def _note(key: Key, name: str) -> None:
    """Tell the cells that know the key, by the tenant's log or those of the application's tenants; never the key."""
    ends = None if key.expires is None else datetime.fromtimestamp(key.expires, UTC).isoformat()
    about = {"key": key.hash[:12], "kind": key.kind, "scopes": sorted(key.scopes), "ends": ends}
    note(key.application, key.tenant, name, about, key.regions)


def _table(name: str) -> Table:
    return boto3.resource("dynamodb").Table(name)
