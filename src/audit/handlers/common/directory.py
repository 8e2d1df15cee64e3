"""Who may do what: the cell's own copy of the directory of applications, tenants and key hashes.

The control plane's content is copied in when the cell is deployed; while serving, only that copy is read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.http import ApiError, Request, parse_json

Kind = Literal["application", "tenant"]

FRESH = 60.0  # seconds that a copy is used before it is read again
OBJECT = "directory.json"


@dataclass(frozen=True)
class Caller:
    """Who calls, from the key alone.

    `tenant` is None for an application key; `secret` is the SHA-256 (raw) of the presented credential, fit to key
    an HMAC that nobody else can make.
    """

    application: str
    tenant: str | None
    secret: bytes

    @property
    def kind(self) -> Kind:
        """The kind of key that was presented."""
        return "application" if self.tenant is None else "tenant"


@dataclass(frozen=True)
class Directory:
    """The applications, each {"tenants": [id], "keys": [{"hash", "kind", "tenantId"?}]}."""

    applications: Mapping[str, Mapping[str, Any]]

    def tenants(self, application: str) -> frozenset[str]:
        """The tenants registered to an application (none for an unknown one)."""
        return frozenset(self.applications.get(application, {}).get("tenants", ()))

    def caller(self, credential: str) -> Caller | None:
        """Who presents `<application>[,<tenant>],<secret>`; None when nobody known."""
        application = credential.partition(",")[0]
        secret = hashlib.sha256(credential.encode()).digest()
        for key in self.applications.get(application, {}).get("keys", ()):
            # In constant time, so that the time taken tells nothing about a near miss.
            if hmac.compare_digest(str(key["hash"]), secret.hex()):
                return Caller(application, key.get("tenantId"), secret)
        return None


class Copy:
    """The directory as last read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._read_at = float("-inf")
        self._directory = Directory({})

    def get(self) -> Directory:
        """The directory, at most FRESH seconds old."""
        if self._clock() - self._read_at >= FRESH:
            answer = s3().get_object(Bucket=setting("CONFIG_BUCKET"), Key=OBJECT)
            self._directory = Directory(parse_json(answer["Body"].read())["applications"])
            self._read_at = self._clock()
        return self._directory

    def forget(self) -> None:
        """Read again at the next call."""
        self._read_at = float("-inf")


_copy = Copy()
directory = _copy.get
forget = _copy.forget


def authenticate(request: Request, kind: Kind) -> Caller:
    """The caller of a request; raises ApiError 401 without a known key, 403 when it is of another kind."""
    caller = directory().caller(_credential(request))
    if caller is None:
        raise ApiError(401, "unauthorized", "the key is unknown")
    if caller.kind != kind:
        article = "an" if kind == "application" else "a"
        raise ApiError(403, "wrong_key", f"{article} {kind} key is needed; this is the other kind")
    return caller


def _credential(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise ApiError(401, "unauthorized", "send the key as 'Authorization: Bearer <key>'")
    try:
        return base64.b64decode(key.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise ApiError(401, "unauthorized", "the key is no base64 text") from None
