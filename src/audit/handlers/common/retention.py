"""How long an event is kept: for as long as its tenant's class said when it was stored, or longer; never shorter. Pure.

Times are seconds since 1970. An end of None is none: what was stored before its tenant had a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DAY = 86400
# Days by class. A year is as long as the longest one is, so that no calendar says it was shorter.
CLASSES: Mapping[str, int] = {"90d": 90, "1y": 366, "3y": 1096, "7y": 2557}
NONE = "none"
SHORTEST = min(CLASSES.values()) * DAY
SPARE_DAYS = (
    2  # between an event's end and its being deleted: a hold has the time to reach all that it is for
)
HELD, KEPT = "held", "kept"  # tags of an archived object, by which a lifecycle rule knows it


@dataclass(frozen=True)
class Terms:
    """What a tenant's events are kept by: the `kept` class of what is stored from now on (None: without an end), and
    since when a legal hold is on (None: there is none)."""

    kept: str | None = None
    held: int | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Terms:
        """As a directory has them."""
        return cls(told.get("class"), told.get("held"))


def are_terms(told: object) -> bool:
    """Whether that is how a directory has a tenant's terms."""
    return (
        isinstance(told, dict)
        and told.get("class") in (None, *CLASSES)
        and (told.get("held") is None or type(told["held"]) is int)
    )


def end_of(kept: str | None, stored: int) -> int | None:
    """When what is stored at that second ends."""
    return None if kept is None else stored + CLASSES[kept] * DAY


def clock(now: float, held: int | None) -> float:
    """What counts as now for a tenant's ends: while a hold is on, time stands still where it began."""
    return now if held is None else min(now, held)


def readable(end: int | None, now: float, held: int | None = None) -> bool:
    """Whether an event of that end may be read."""
    return end is None or end > clock(now, held)


def lengthened(end: int | None, stored: int, kept: str | None) -> int | None:
    """The end, under a new class, of what was stored at that second: the later one of both."""
    if end is None or (found := class_of(end, stored)) == longest(found, kept):
        return end
    return max(end, end_of(kept, stored) or end)


def class_of(end: int | None, stored: int) -> str:
    """The class that an end comes from, by clocks that are less than a day apart; NONE without an end."""
    if end is None:
        return NONE
    fitting = (name for name, days in CLASSES.items() if stored + (days + 1) * DAY > end)
    return next(fitting, max(CLASSES, key=_days))


def longest(*classes: str | None) -> str | None:
    """The longest of some classes; None when none is one."""
    return max(filter(None, classes), key=_days, default=None)


def _days(name: str) -> int:
    return CLASSES[name]


def attributes(end: int | None, held: bool) -> dict[str, int]:
    """What an item of the index says of its end: `until`, and from when on DynamoDB may `forget` it."""
    if end is None:
        return {}
    return {"until": end} | ({} if held else {"forget": end + SPARE_DAYS * DAY})


def end_in(answer: Mapping[str, Any]) -> int | None:
    """The end (seconds since 1970) of the object that S3's answer to a get or head is of. One that was stored without a
    class has none: its lock is the bucket's."""
    if answer["Metadata"].get(KEPT, NONE) == NONE:
        return None
    return int(answer["ObjectLockRetainUntilDate"].timestamp())


def is_held(answer: Mapping[str, Any]) -> bool:
    """Whether a legal hold is on it."""
    return bool(answer.get("ObjectLockLegalHoldStatus") == "ON")
