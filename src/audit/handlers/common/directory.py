"""Who may do what: the cell's own copy of the directory of applications, tenants and key hashes.

The cell's service `directory` brings it from the control plane; while serving, only that copy is read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.http import ApiError, Request, parse_json
from audit.handlers.common.retention import Terms, are_terms

Kind = Literal["application", "tenant"]
Scope = Literal["write", "read", "export", "view", "stream"]

# What a key of a kind can do, and what one does that names no scopes, as those of before did not:
# where events are sent to is never among it.
SCOPES: Mapping[Kind, tuple[Scope, ...]] = {
    "application": ("write", "read", "view"),
    "tenant": ("read", "export", "stream"),
}
UNNAMED: Mapping[Kind, tuple[Scope, ...]] = {"application": ("write", "read"), "tenant": ("read", "export")}

FRESH = 20.0  # seconds that a copy is used before it is read again
RETRY = 5.0  # seconds between attempts while it can't be read
PAST = 8  # versions of old that are remembered
OBJECT = "directory.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """Who calls, from the key alone.

    `tenant` is None for an application key; `secret` is the SHA-256 (raw) of the presented credential, fit to key
    an HMAC that nobody else can make. `expires` is the second (since 1970) from which on the key is of no use; None
    when it lasts.
    """

    application: str
    tenant: str | None
    secret: bytes
    scopes: frozenset[str]
    expires: float | None = None

    @property
    def kind(self) -> Kind:
        """The kind of key that was presented."""
        return "application" if self.tenant is None else "tenant"

    @property
    def ended(self) -> bool:
        """Whether the key is of no use any more."""
        return self.expires is not None and time.time() >= self.expires


@dataclass(frozen=True)
class Directory:
    """The applications, each {"tenants": [id], "keys": [{"hash", "kind", "tenantId"?, "scopes"?, "expires"?}],
    "terms"?: {tenant: {"class"?, "held"?}}}.

    `version` is S3's version of the object that it was read from; None where the bucket keeps none. `cells` are those
    of the product region, each {"failover"?: the cell that takes over, "earlier"?: [those that did once]}, and
    `endpoint` is what their hosts end with. An application's "home" is a cell, and "places" has the cells of the
    tenants that are or were elsewhere.
    """

    applications: Mapping[str, Mapping[str, Any]]
    version: str | None = None
    endpoint: str = ""
    cells: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def tenants(self, application: str) -> frozenset[str]:
        """The tenants registered to an application (none for an unknown one)."""
        return frozenset(self.applications.get(application, {}).get("tenants", ()))

    def places(self, application: str, tenant: str | None = None) -> tuple[str, ...]:
        """The cells that may have events of a tenant: its home, those that were before, its application's own home.

        Of an application, or of a tenant that is not registered, the application's home; none where nobody was told.
        """
        found = self.applications.get(application, {})
        home = found.get("home")
        return tuple(found.get("places", {}).get(tenant, (home,) if home else ()))

    def partner(self, cell: str) -> str | None:
        """Who takes new events while a cell is out: its failover partner, of the same region and so residency."""
        partner: str | None = self.cells.get(cell, {}).get("failover")
        return partner if partner in self.cells else None

    def took_over(self, cell: str) -> list[str]:
        """Who may have taken events while a cell was out: its failover partner, and those that it had before."""
        told = self.cells.get(cell, {})
        return [one for one in (told.get("failover"), *told.get("earlier", ())) if one in self.cells]

    def terms(self, application: str, tenant: str) -> Terms:
        """What a tenant's events are kept by."""
        return Terms.of(self.applications.get(application, {}).get("terms", {}).get(tenant, {}))

    def caller(self, credential: str) -> Caller | None:
        """Who presents `<application>[,<tenant>],<secret>`; None when nobody known."""
        presented = hashlib.sha256(credential.encode()).hexdigest()
        # In constant time, so that the time taken tells nothing about a near miss.
        return self.holder(credential.partition(",")[0], lambda known: hmac.compare_digest(known, presented))

    def holder(self, application: str, fits: Callable[[str], bool]) -> Caller | None:
        """Whose key it is, of an application's, whose hash fits; None when none does."""
        for key in self.applications.get(application, {}).get("keys", ()):
            known = str(key["hash"])
            if fits(known):
                tenant = key.get("tenantId")
                scopes = key.get("scopes", UNNAMED["tenant" if tenant else "application"])
                secret = bytes.fromhex(known)
                return Caller(application, tenant, secret, frozenset(scopes), key.get("expires"))
        return None


def read_directory(version: str | None = None) -> Directory:
    """The directory as S3 has it now, or as it was in a version.

    Raises ClientError or BotoCoreError when it can't be read, ValueError when what is there is none.
    """
    which = {"VersionId": version} if version else {}
    answer = s3().get_object(Bucket=setting("CONFIG_BUCKET"), Key=OBJECT, **which)  # type: ignore[arg-type]
    content = parse_json(answer["Body"].read())
    if not isinstance(content, dict) or not is_directory(content.get("applications")):
        raise ValueError(f"{OBJECT} is no directory of applications, tenants and keys")
    return Directory(
        content["applications"],
        answer.get("VersionId"),
        content.get("endpoint", ""),
        content.get("cells", {}),
    )


def is_directory(applications: object) -> bool:
    """Whether that has the shape of `Directory.applications`."""
    return isinstance(applications, dict) and all(
        isinstance(found, dict)
        and all(isinstance(tenant, str) for tenant in found.get("tenants", ()))
        and all(map(_is_key, found.get("keys", ())))
        and isinstance(found.get("home", ""), str)
        and isinstance(found.get("places", {}), dict)
        and all(map(_are_places, found.get("places", {}).values()))
        and isinstance(terms := found.get("terms", {}), dict)
        and all(map(are_terms, terms.values()))
        for found in applications.values()
    )


def _are_places(places: object) -> bool:
    return isinstance(places, list) and places != [] and all(isinstance(cell, str) for cell in places)


def _is_key(key: object) -> bool:
    """What bounds a key is read as it was meant, or the whole of it is refused."""
    return (
        isinstance(key, dict)
        and isinstance(key.get("hash"), str)
        and isinstance(scopes := key.get("scopes", []), list)
        and all(isinstance(scope, str) for scope in scopes)
        and ("expires" not in key or type(key["expires"]) is int)
    )


class Copy:
    """The directory as last read. What is known of tenants and keys outlives trouble with S3."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = float("-inf")
        self._directory: Directory | None = None
        self._past: dict[str, Directory] = {}

    def get(self) -> Directory:
        """The directory, at most FRESH seconds old; while it can't be read, the last that could.

        Raises as `read_directory` when there never was one.
        """
        if self._directory is not None and self._clock() < self._due:
            return self._directory
        try:
            return self.renew()
        except (BotoCoreError, ClientError, ValueError) as error:
            if self._directory is None:
                raise
            log.warning(
                "the directory can't be read, its version %s serves on: %s", self._directory.version, error
            )
            self._due = self._clock() + RETRY
            return self._directory

    def renew(self) -> Directory:
        """The directory as it is now; raises as `read_directory`."""
        self._directory = read_directory()
        self._due = self._clock() + FRESH
        return self._directory

    def at(self, version: str) -> Directory:
        """The directory as it was in a version, an empty one when S3 has that no longer; raises as `read_directory`."""
        if self._directory is not None and self._directory.version == version:
            return self._directory
        if version not in self._past:
            if len(self._past) >= PAST:
                self._past.clear()
            self._past[version] = _past(version)
        return self._past[version]

    def forget(self) -> None:
        """Know nothing."""
        self._directory = None
        self._past.clear()


def _past(version: str) -> Directory:
    try:
        return read_directory(version)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchVersion", "NoSuchKey"):
            return Directory({}, version)
        raise


_copy: ContextVar[Copy] = ContextVar("copy", default=Copy())  # noqa: B039 (one for the whole process is meant)


def directory() -> Directory:
    """The process's copy: see `Copy.get`."""
    return _copy.get().get()


def newest_directory() -> Directory:
    """The directory as it is now: see `Copy.renew`."""
    return _copy.get().renew()


def directory_at(version: str) -> Directory:
    """The directory as it was: see `Copy.at`."""
    return _copy.get().at(version)


def forget() -> None:
    """Know nothing: read again at the next call."""
    _copy.get().forget()


@contextmanager
def copied_to(copy: Copy) -> Iterator[None]:
    """Have `copy` stand for the process's own."""
    token = _copy.set(copy)
    try:
        yield
    finally:
        _copy.reset(token)


def caller_of(request: Request) -> Caller:
    """Whose key a request has; raises ApiError 401 without one that is in force."""
    caller = directory().caller(_credential(request))
    if caller is None:
        raise ApiError(401, "unauthorized", "the key is unknown")
    if caller.expires is not None and caller.ended:
        ended = datetime.fromtimestamp(caller.expires, UTC).isoformat(timespec="seconds")
        raise ApiError(401, "expired", f"the key was good until {ended}")
    return caller


def authenticate(request: Request, kind: Kind, scope: Scope) -> Caller:
    """The caller of a request; raises ApiError 401 as `caller_of`, 403 when the key may not do that."""
    caller = caller_of(request)
    if caller.kind != kind:
        article = "an" if kind == "application" else "a"
        raise ApiError(403, "wrong_key", f"{article} {kind} key is needed; this is the other kind")
    if scope not in caller.scopes:
        has = ", ".join(sorted(caller.scopes)) or "none"
        raise ApiError(403, "missing_scope", f"a key of scope {scope} is needed; this one has {has}")
    return caller


def _credential(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise ApiError(401, "unauthorized", "send the key as 'Authorization: Bearer <key>'")
    key = key.strip()
    try:
        # Some drop the padding.
        return base64.b64decode(key + "=" * (-len(key) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        raise ApiError(401, "unauthorized", "the key is no base64 text") from None
