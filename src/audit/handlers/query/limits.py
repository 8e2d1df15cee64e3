"""How much a tenant may ask: so many requests in each WINDOW seconds, whichever process answers them.

A row a tenant and window counts them, by one atomic update that no other process's can undo; DynamoDB forgets the rows
by itself. Who is known decides what rows there are: callers come from the directory alone.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from audit.handlers.common.aws import setting, table
from audit.handlers.common.directory import Caller
from audit.handlers.common.http import ApiError
from audit.handlers.common.index import partition
from audit.handlers.common.metrics import publish

WINDOW = 10  # seconds
KEPT = 3600  # seconds that a row is of use at most, by far
SILENT = 5.0  # seconds that a process does not count after it could not
# A customer waits for it, and is let in without it.
PROMPT = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 1})

log = logging.getLogger(__name__)
clock = time.time


@dataclass
class _Seen:
    """What a process remembers, so that refusals and outages cost no call each."""

    window: int = 0
    spent: set[str] = field(default_factory=set)
    silent_until: float = 0.0


_seen = _Seen()


def admit(caller: Caller) -> None:
    """Count a request of a tenant; raises ApiError 429 when that is more than it may ask now.

    A tenant is let in when nobody can count: reading one's own events matters more, and the API has limits of its own.
    """
    now = clock()
    window = int(now // WINDOW)
    if _seen.window != window:
        _seen.window, _seen.spent = window, set()
    who = partition(caller.application, caller.tenant or "")
    if who not in _seen.spent:
        if _counted(who, window, now) <= int(setting("LIMIT_REQUESTS")):
            return
        _seen.spent.add(who)
    wait = max(1, math.ceil((window + 1) * WINDOW - now))
    raise ApiError(
        429,
        "too_many_requests",
        f"a tenant may ask {setting('LIMIT_REQUESTS')} times in {WINDOW} seconds; ask again in {wait} s",
        headers={"retry-after": str(wait)},
    )


def _counted(who: str, window: int, now: float) -> int:
    """The requests of a tenant in a window, this one included; 0 when they can't be counted."""
    if now < _seen.silent_until:
        return 0
    try:
        answer = table(setting("LIMITS_TABLE"), PROMPT).update_item(
            Key={"pk": f"{who}#{window}"},
            UpdateExpression="ADD requests :one SET expires = :expires",
            ExpressionAttributeValues={":one": 1, ":expires": int(now) + KEPT},
            ReturnValues="UPDATED_NEW",
        )
    except (BotoCoreError, ClientError) as error:
        log.warning("requests are not counted, and let in: %s", error)
        publish({"LimitsFailed": 1})
        _seen.silent_until = now + SILENT
        return 0
    return int(str(answer["Attributes"]["requests"]))


def forget() -> None:
    """Remember nothing."""
    _seen.window, _seen.spent, _seen.silent_until = 0, set(), 0.0
