"""Links to a tenant's viewer: who makes one, what it says, and whether it is one of ours that still opens anything.

A link's text is what it says and a MAC of it by a KMS key of the cell's that nobody can take out. It names the key that
made it, by a hash of that key's hash: with the key go its links.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

from botocore.exceptions import ClientError

from audit.handlers.common import aws
from audit.handlers.common.aws import setting
from audit.handlers.common.directory import Caller, Directory, authenticate, directory
from audit.handlers.common.exact import write
from audit.handlers.common.http import ApiError, Reply, Request, parse_json
from audit.handlers.common.internal import Actor, Internal, tell
from audit.handlers.common.operations import Operation, record
from audit.handlers.query.jobs import when
from audit.handlers.query.limits import admit

PLACE = "/v1/viewer"
MINUTES, MOST_MINUTES = 15, 60
MOST_ORIGINS = 5
LONGEST_ORIGIN = 270  # a host's name of 253 characters, and what stands around it
CAN = ("export",)
MAC: Literal["HMAC_SHA_256"] = "HMAC_SHA_256"
KNOWN = 1000  # links that a process need not ask KMS about again

_ORIGIN = re.compile(r"https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?")
_FIELDS = ("tenantId", "minutes", "origins", "can")

clock = time.time


@dataclass(frozen=True)
class Link:
    """What a link says. `key` tells which key made it; `expires` is a second since 1970; `origins` may frame it; `can`
    is what its bearer may do beside reading."""

    application: str
    tenant: str
    key: str
    expires: int
    origins: tuple[str, ...] = ()
    can: tuple[str, ...] = ()

    @property
    def said(self) -> bytes:
        """The link without its MAC. The application comes first, as in a key."""
        rest = [self.tenant, self.key, self.expires, self.origins, self.can]
        return f"{self.application},{json.dumps(rest, separators=(',', ':'))}".encode()

    @property
    def name(self) -> str:
        """What names the link, and opens nothing."""
        return hashlib.sha256(self.said).hexdigest()[:12]

    @classmethod
    def saying(cls, said: bytes) -> Link:
        """The link that says that; ValueError when none does."""
        application, _, rest = said.decode().partition(",")
        tenant, key, expires, origins, can = parse_json(rest.encode())
        link = cls(application, tenant, key, expires, tuple(origins), tuple(can))
        if link.said != said:
            raise ValueError("a link says it otherwise")
        return link


def create_link(request: Request) -> Reply:
    """POST /v1/viewer-links: 201 has the URL."""
    caller = authenticate(request, "application", "view")
    admit(caller)
    link = _asked(request.json(), caller)
    # Before there is one: who could read a tenant's events is told in its log.
    tell(
        Internal(
            link.application,
            link.tenant,
            "audit.viewer-link.created",
            Actor.of(caller),
            datetime.fromtimestamp(clock(), UTC),
            secrets.token_hex(8),
            {"link": link.name, "expires": when(link.expires), "origins": link.origins, "can": link.can},
        )
    )
    made = aws.kms().generate_mac(KeyId=setting("VIEWER_KEY"), MacAlgorithm=MAC, Message=_message(link.said))
    url = f"{_here(request)}{PLACE}/{_text(link.said)}.{_text(made['Mac'])}/events"
    return Reply(201, {"url": url, "expires": when(link.expires)})


def opened(token: str) -> Link:
    """The link of a URL, which may have come to its end; raises ApiError 403 unless it is one of ours, whose key is in
    force."""
    said, _, mac = token.partition(".")
    try:
        link = Link.saying(_bytes(said))
        # What is rehearsed on a stage is remembered by nobody.
        is_ours = _is_ours.__wrapped__ if aws.staged() else _is_ours
        known = _made_by(link, directory()) and is_ours(link.said, _bytes(mac))
    except (ValueError, TypeError):  # of binascii too
        known = False
    if not known:
        raise ApiError(403, "invalid_link", "this link is not valid; ask for a new one where you found it")
    return link


def insist_on_time(link: Link) -> None:
    """Raise ApiError 403 when a link has come to its end."""
    if clock() >= link.expires:
        raise ApiError(403, "link_ended", f"this link was good until {when(link.expires)}; ask for a new one")


def reader(link: Link, token: str) -> Caller:
    """As whom the bearer of a link reads: its tenant alone. Cursors are good with that very link."""
    scopes = frozenset({"read", *link.can})
    return Caller(
        link.application, link.tenant, hashlib.sha256(token.encode()).digest(), scopes, link.expires
    )


def forget() -> None:
    """Ask KMS about every link anew."""
    _is_ours.cache_clear()


def _asked(body: Any, caller: Caller) -> Link:
    """The link that a body asks for; raises ApiError 400."""
    if not isinstance(body, dict):
        raise ApiError(400, "invalid_body", 'the body must be an object such as {"tenantId": "north"}')
    for name in body:
        if name not in _FIELDS:
            raise _wrong(name[:60], "unknown", f"one of {', '.join(_FIELDS)}")
    tenant, minutes = body.get("tenantId"), body.get("minutes", MINUTES)
    if not isinstance(tenant, str) or tenant not in directory().tenants(caller.application):
        raise _wrong("tenantId", tenant, "a tenant that is registered to the key's application")
    if type(minutes) is not int or not 1 <= minutes <= MOST_MINUTES:
        raise _wrong("minutes", minutes, f"a whole number from 1 to {MOST_MINUTES}")
    end = int(clock()) + minutes * 60
    link = Link(caller.application, tenant, _name_of(caller.secret.hex()), end)
    if caller.expires is not None:
        link = replace(link, expires=min(link.expires, int(caller.expires)))
    origins, can = body.get("origins", []), body.get("can", [])
    if not _is_list_of(origins, _is_origin) or len(origins) > MOST_ORIGINS:
        right = (
            f"at most {MOST_ORIGINS} origins such as https://app.example.com, in lower case, without a path"
        )
        raise _wrong("origins", origins, right)
    if not _is_list_of(can, CAN.__contains__):
        raise _wrong("can", can, f"a list of some of: {', '.join(CAN)}")
    return replace(link, origins=tuple(dict.fromkeys(origins)), can=tuple(sorted(set(can))))


def _wrong(name: str, found: object, right: str) -> ApiError:
    return ApiError(400, "invalid_parameter", f"{name}: found {write(found)[:80]}, expected {right}")


def _is_list_of(value: object, fits: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and fits(one) for one in value)


def _is_origin(text: str) -> bool:
    return len(text) <= LONGEST_ORIGIN and _ORIGIN.fullmatch(text) is not None


def _here(request: Request) -> str:
    """The address that the API was asked under."""
    asked = request.headers
    return f"{asked.get('x-forwarded-proto', 'https')}://{asked['host']}{asked.get('x-forwarded-prefix', '')}"


def _made_by(link: Link, known: Directory) -> bool:
    """Whether the key that made it is in force, and the tenant is registered: asked before KMS, which costs."""
    maker = known.holder(link.application, lambda key: _name_of(key) == link.key)
    return (
        maker is not None
        and maker.kind == "application"
        and "view" in maker.scopes
        and not maker.ended
        and link.tenant in known.tenants(link.application)
    )


def _name_of(key: str) -> str:
    """What names a key, by its hash, to nobody else."""
    return hashlib.sha256(f"viewer {key}".encode()).hexdigest()[:16]


@lru_cache(KNOWN)
def _is_ours(said: bytes, mac: bytes) -> bool:
    try:
        aws.kms().verify_mac(
            KeyId=setting("VIEWER_KEY"), MacAlgorithm=MAC, Message=_message(said), Mac=mac or b"none"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "KMSInvalidMacException":
            return False
        raise
    return True


def _message(said: bytes) -> bytes:
    """What the MAC is made of: KMS takes no more than 4,096 bytes."""
    return hashlib.sha256(b"viewer link\n" + said).digest()


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    """The bytes of a text of `_text`; ValueError for any other way of writing them."""
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if _text(content) != text:
        raise ValueError("the same bytes are written otherwise")
    return content


_BODY: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "tenantId": {"type": "string", "description": "A tenant that is registered to the application."},
        "minutes": {"type": "integer", "minimum": 1, "maximum": MOST_MINUTES, "default": MINUTES},
        "origins": {
            "type": "array",
            "items": {"type": "string", "pattern": f"^{_ORIGIN.pattern}$", "maxLength": LONGEST_ORIGIN},
            "maxItems": MOST_ORIGINS,
            "description": "Whose pages may show the viewer in a frame: none without it.",
        },
        "can": {
            "type": "array",
            "items": {"enum": list(CAN)},
            "description": "What its bearer may do beside reading.",
        },
    },
    "required": ["tenantId"],
    "additionalProperties": False,
}
OPERATIONS = (
    Operation(
        "POST /v1/viewer-links",
        create_link,
        "createViewerLink",
        "A link to the viewer of one of the application's tenants, good for some minutes. It ends with the key.",
        (
            201,
            record(
                url={"type": "string", "format": "uri"}, expires={"type": "string", "format": "date-time"}
            ),
        ),
        key=("application", "view"),
        body=_BODY,
        errors={
            400: ["invalid_json", "invalid_body", "invalid_parameter"],
            429: ["too_many_requests"],
        },
    ),
)
