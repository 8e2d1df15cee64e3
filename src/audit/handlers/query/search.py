"""What a tenant asks for, and the cursor by which it goes on."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from boto3.dynamodb.conditions import Attr, ConditionBase

from audit.handlers.common.directory import Caller, directory
from audit.handlers.common.exact import read
from audit.handlers.common.http import ApiError
from audit.handlers.common.index import end_of_item, partition
from audit.handlers.common.retention import readable
from audit.handlers.query import matching, parameters
from audit.handlers.query.parameters import FILTERS, LONGEST, PAGE, SHAPE, SPAN, TENANT

# What the index knows of every item; the others are looked for in the event itself.
INDEXED = ("eventName", "actorId", "resourceId", "serviceEvent")
PARAMETERS = (*TENANT, *FILTERS, *SPAN, *PAGE, *SHAPE)
_FIRST, _LAST = "0", "~"  # sort before and after every time
_MAC_BYTES = 16

clock = time.time


@dataclass(frozen=True)
class Search:
    """A tenant's question.

    `since` (inclusive) and `until` (exclusive) are times as sort keys have them; `start` is the sort key to go on
    after. `secret` binds cursors to the key that they were made for. `ocsf` says how the answer is written, `held`
    since when a legal hold is on.
    """

    partition: str
    secret: bytes
    filters: tuple[tuple[str, str], ...] = ()
    since: str = _FIRST
    until: str = _LAST
    limit: int = 50
    start: str | None = None
    ocsf: bool = False
    held: int | None = None

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]], caller: Caller) -> Search:
        """The question in (name, value) pairs; the caller alone says whose events. Raises ApiError 400 or 403."""
        asked = parameters.asked(pairs, PARAMETERS)
        if asked.get("tenantId", caller.tenant) != caller.tenant:
            raise ApiError(403, "foreign_tenant", "tenantId: the key reads its own tenant's events only")
        search = cls(
            partition=partition(caller.application, caller.tenant or ""),
            secret=caller.secret,
            filters=tuple(
                (one.name, _filter(one.name, asked[one.name])) for one in FILTERS if one.name in asked
            ),
            since=parameters.time_of("from", asked["from"]) if "from" in asked else _FIRST,
            until=parameters.time_of("to", asked["to"]) if "to" in asked else _LAST,
            limit=parameters.limit_of(asked.get("limit", "50"), 100),
            ocsf=parameters.is_ocsf(asked),
            held=directory().terms(caller.application, caller.tenant or "").held,
        )
        if search.since > search.until:
            raise ApiError(
                400, "invalid_parameter", f"from: found a time later than to's, {asked['to'][:60]}"
            )
        return search.after(asked["cursor"]) if "cursor" in asked else search

    def condition(self) -> ConditionBase | None:
        """The filters that the index knows, as a DynamoDB condition; None when there are none."""
        conditions = [_condition(name, value) for name, value in self.filters if name in INDEXED]
        return reduce(lambda one, other: one & other, conditions) if conditions else None

    def matching(self, items: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those of the index's items that may be read now, and whose events are what the other filters ask for."""
        now = clock()
        items = [item for item in items if readable(end_of_item(item), now, self.held)]
        wanted = [matching.FILTERS[name](value) for name, value in self.filters if name not in INDEXED]
        if not wanted:
            return items
        return [item for item in items if _all_match(wanted, read(item["event"]))]

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
        return replace(self, start=position)

    def _mac(self, position: str) -> bytes:
        # The limit may change from page to page; everything else is part of the question.
        bound = json.dumps([self.partition, self.filters, self.since, self.until, position])
        return hmac.digest(self.secret, bound.encode(), "sha256")[:_MAC_BYTES]


def _condition(name: str, value: str) -> ConditionBase:
    if name == "resourceId":
        return Attr("resourceIds").contains(value)
    if (name, value) == ("serviceEvent", "false"):
        return Attr(name).not_exists()
    return Attr(name).eq(value)


def _all_match(wanted: Iterable[matching.Match], event: Mapping[str, Any]) -> bool:
    return all(matches(event) for matches in wanted)


def _filter(name: str, text: str) -> str:
    """What is asked for, found to be such; raises ApiError 400."""
    try:
        if len(text) > LONGEST:
            raise ValueError(f"found {len(text)} characters, expected at most {LONGEST}")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError("found half of a surrogate pair, expected text that is Unicode")
        if name == "serviceEvent" and text not in ("true", "false"):
            raise ValueError(f"found {text[:60]!r}, expected true or false")
        if name in matching.FILTERS:
            matching.FILTERS[name](text)
    except ValueError as error:
        raise ApiError(400, "invalid_parameter", f"{name}: {error}") from None
    return text
