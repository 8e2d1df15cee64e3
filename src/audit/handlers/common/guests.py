"""Who is a guest in a cell: a tenant whose events it took in though it is at home in another.

Each has a mark in the index, which is never taken away: so their number says whether there is a new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from boto3.dynamodb.conditions import Key

from audit.handlers.common.aws import setting, table
from audit.handlers.common.directory import directory
from audit.handlers.common.index import insert, partition

GUESTS = "_guests"  # begins as no application does


def mark_guests(application: str, tenants: Iterable[str]) -> None:
    """Mark those of an application's tenants that no router looks for here otherwise. Raises as `insert`."""
    known, here = directory(), setting("CELL")
    # Where nobody says who is at home where, everybody is.
    strangers = [one for one in tenants if here not in (known.places(application, one) or (here,))]
    if strangers:
        insert(mark_of(application, tenant) for tenant in strangers)


def mark_of(application: str, tenant: str) -> dict[str, str]:
    """The index's item that marks a tenant."""
    return {"pk": GUESTS, "sk": partition(application, tenant)}


def count_guests() -> int:
    """How many guests the cell has ever had."""
    asked: Any = {"KeyConditionExpression": Key("pk").eq(GUESTS), "Select": "COUNT", "ConsistentRead": True}
    answer: Any = table(setting("INDEX_TABLE")).query(**asked)
    count = int(answer["Count"])
    while last := answer.get("LastEvaluatedKey"):
        answer = table(setting("INDEX_TABLE")).query(**asked, ExclusiveStartKey=last)
        count += int(answer["Count"])
    return count


def is_guest(application: str, tenant: str) -> bool:
    """Whether that tenant is one of them."""
    mark = Key("pk").eq(GUESTS) & Key("sk").eq(partition(application, tenant))
    answer = table(setting("INDEX_TABLE")).query(KeyConditionExpression=mark, ConsistentRead=True)
    return bool(answer["Items"])
