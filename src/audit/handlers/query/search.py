"""What a tenant asks for, and the cursor by which it goes on."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from dataclasses import dataclass
from functools import reduce

from boto3.dynamodb.conditions import Attr, ConditionBase

from audit.handlers.common.directory import Caller
from audit.handlers.common.events import canonical_time
from audit.handlers.common.http import ApiError, Request
from audit.handlers.common.index import partition

FILTERS = ("eventName", "actorId", "resourceId")
PARAMETERS = ("tenantId", *FILTERS, "from", "to", "limit", "cursor")
_WITHOUT_BLANKS = ("tenantId", "from", "to")
_FIRST, _LAST = "0", "~"  # sort before and after every time
_MAC_BYTES = 16


@dataclass(frozen=True)
class Search:
    """A tenant's question.

    `since` (inclusive) and `until` (exclusive) are times as sort keys have them; `start` is the sort key to go on
    after. `secret` binds cursors to the key that they were made for.
    """

    partition: str
    secret: bytes
    filters: tuple[tuple[str, str], ...] = ()
    since: str = _FIRST
    until: str = _LAST
    limit: int = 50
    start: str | None = None

    @classmethod
    def of(cls, request: Request, caller: Caller) -> Search:
        """The question in a request; the caller alone says whose events. Raises ApiError 400 or 403."""
        asked = _parameters(request)
        if asked.get("tenantId", caller.tenant) != caller.tenant:
            raise ApiError(403, "foreign_tenant", "tenantId: the key reads its own tenant's events only")
        search = cls(
            partition=partition(caller.application, caller.tenant or ""),
            secret=caller.secret,
            filters=tuple((name, asked[name]) for name in FILTERS if name in asked),
            since=_time("from", asked["from"]) if "from" in asked else _FIRST,
            until=_time("to", asked["to"]) if "to" in asked else _LAST,
            limit=_limit(asked.get("limit", "50")),
        )
        if search.since > search.until:
            raise ApiError(400, "invalid_parameter", "from: is later than to")
        return search.after(asked["cursor"]) if "cursor" in asked else search

    def condition(self) -> ConditionBase | None:
        """The filters as a DynamoDB condition; None when there are none."""
        conditions: list[ConditionBase] = [
            Attr("resourceIds").contains(value) if name == "resourceId" else Attr(name).eq(value)
            for name, value in self.filters
        ]
        return reduce(lambda one, other: one & other, conditions) if conditions else None

    def cursor(self, position: str) -> str:
        """An opaque text by which the same question, under the same key, goes on after `position`."""
        return base64.urlsafe_b64encode(self._mac(position) + position.encode()).decode().rstrip("=")

    def after(self, cursor: str) -> Search:
        """The question, gone on after a cursor; raises ApiError 400 when the cursor is not one of its own."""
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            mac, position = raw[:_MAC_BYTES], raw[_MAC_BYTES:].decode()
        except (binascii.Error, ValueError):
            mac, position = b"", ""
        if not position or not hmac.compare_digest(mac, self._mac(position)):
            raise ApiError(400, "invalid_cursor", "cursor: is not one that this key got for this question")
        return Search(self.partition, self.secret, self.filters, self.since, self.until, self.limit, position)

    def _mac(self, position: str) -> bytes:
        # The limit may change from page to page; everything else is part of the question.
        bound = json.dumps([self.partition, self.filters, self.since, self.until, position])
        return hmac.digest(self.secret, bound.encode(), "sha256")[:_MAC_BYTES]


def _parameters(request: Request) -> dict[str, str]:
    asked: dict[str, str] = {}
    for name, value in request.query:
        # What signs a request's URL is not part of the question.
        if name.startswith("X-Amz-"):
            continue
        if name not in PARAMETERS:
            known = ", ".join(PARAMETERS)
            raise ApiError(400, "invalid_parameter", f"{name[:60]}: unknown; there are {known}")
        if name in asked:
            raise ApiError(400, "invalid_parameter", f"{name}: given twice")
        if not value:
            raise ApiError(400, "invalid_parameter", f"{name}: is empty")
        # A blank there is a plus that the client did not encode.
        asked[name] = value.replace(" ", "+") if name in _WITHOUT_BLANKS else value
    return asked


def _time(name: str, text: str) -> str:
    try:
        return canonical_time(text)
    except ValueError as error:
        raise ApiError(400, "invalid_parameter", f"{name}: {error}") from None


def _limit(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]?|100", text):
        raise ApiError(400, "invalid_parameter", f"limit: found {text[:60]}, expected 1 to 100")
    return int(text)
