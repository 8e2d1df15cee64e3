"""A tenant's items of the index, newest first, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from boto3.dynamodb.conditions import Key

from audit.handlers.common.aws import setting, table
from audit.handlers.query.search import Search

_FILTERED_PAGE = 500  # items: a filter drops most, so read more than are asked for


def read_page(search: Search, position: str | None) -> tuple[Sequence[Mapping[str, Any]], str | None]:
    """The items behind a position that are asked for, and the sort key to go on after (None: there are no more)."""
    answer = table(setting("INDEX_TABLE")).query(**_page(search, position))
    last = answer.get("LastEvaluatedKey")
    return search.matching(answer["Items"]), str(last["sk"]) if last else None


def _page(search: Search, position: str | None) -> dict[str, Any]:
    condition = Key("pk").eq(search.partition) & Key("sk").between(search.since, search.until)
    page: dict[str, Any] = {"KeyConditionExpression": condition, "ScanIndexForward": False}
    page["Limit"] = _FILTERED_PAGE if search.filters else search.limit + 1
    wanted = search.condition()
    if wanted is not None:
        page["FilterExpression"] = wanted
    if position is not None:
        page["ExclusiveStartKey"] = {"pk": search.partition, "sk": position}
    return page
