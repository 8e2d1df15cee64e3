"""A post of events, as whoever takes it understands it: all of it is right, or none of it is taken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from audit.handlers.common.directory import Directory
from audit.handlers.common.events import MAX_EVENTS, Problem, problems
from audit.handlers.common.http import ApiError, Request
from audit.handlers.common.schemas import held_against

KEY = "Idempotency-Key"
A_KEY = re.compile(r"[!-~]{1,255}")
Wrong = list[tuple[int, Problem]]  # of events, by their index
_SHOWN = 20  # problems listed in one answer


@dataclass(frozen=True)
class Post:
    """Its events; what number each counts as in the whole post (None: they are the whole, from 0 on); and its
    `Idempotency-Key`, if it has one."""

    events: Sequence[dict[str, Any]]
    at: tuple[int, ...] | None
    key: str | None

    @classmethod
    def of(cls, request: Request) -> Post:
        """The post in a request; raises ApiError 400 unless all of it is one."""
        events, at = _parts(request.json())
        refuse([(index, problem) for index, event in enumerate(events) for problem in problems(event)])
        key = request.headers.get(KEY.lower())
        if key is not None and not A_KEY.fullmatch(key):
            found = f"{len(key)} characters, {key[:40]!r}"
            raise ApiError(
                400,
                "invalid_idempotency_key",
                f"{KEY}: found {found}, expected 1 to 255 of visible ASCII; none was accepted",
            )
        return cls(events, at, key)


def _parts(body: Any) -> tuple[list[Any], tuple[int, ...] | None]:
    """The events of a body, and their numbers where it says them."""
    if isinstance(body, list):
        events, name = body, "the list"
    elif not isinstance(body, dict):
        raise ApiError(400, "invalid_body", 'the body must be an event, a list of them or {"events": [...]}')
    elif "events" not in body or "eventName" in body:
        return [body], None
    else:
        events, name = body["events"], "'events'"
        extra = sorted(set(body) - {"events", "at"})
        if extra:
            raise ApiError(400, "invalid_body", f"unknown beside 'events' and 'at': {', '.join(extra)}"[:300])
    if not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS:
        found = f"{len(events)} of them" if isinstance(events, list) else "no list"
        raise ApiError(
            400, "invalid_body", f"{name}: found {found}, expected a list of 1 to {MAX_EVENTS} events"
        )
    if isinstance(body, list) or "at" not in body:
        return events, None
    given = body["at"]
    if not _are_numbers(given, len(events)):
        right = f"for each event a number from 0 to {MAX_EVENTS - 1}, each greater than the one before"
        raise ApiError(400, "invalid_body", f"'at': expected {right}")
    return events, tuple(given)


def _are_numbers(given: object, count: int) -> bool:
    return (
        isinstance(given, list)
        and len(given) == count
        and all(type(number) is int and 0 <= number < MAX_EVENTS for number in given)
        and given == sorted(set(given))
    )


def unfit(events: Sequence[Any], known: Directory, application: str) -> Wrong:
    """What is wrong with events by the schemas that are in force for their actions."""
    found = known.applications.get(application, {})
    return [
        (index, problem) for index, event in enumerate(events) for problem in held_against(found, event)[1]
    ]


def refuse(wrong: Wrong) -> None:
    """Raises ApiError 400 for a post of which anything is wrong."""
    if not wrong:
        return
    index, first = wrong[0]
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    raise ApiError(
        400,
        "invalid_events",
        f"events[{index}].{first}{more}; none was accepted",
        [problem.at(at) for at, problem in wrong[:_SHOWN]],
    )
