"""A tenant's events, wherever in the region they are: at its home, where that was before, or where they went meanwhile.

A failover partner is asked only once it has taken in events of tenants that are at home elsewhere: it says of how many,
a number that only grows, and whether the caller is one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from audit.handlers.common.directory import Caller, Directory, authenticate, directory
from audit.handlers.common.http import ApiError, Reply, Request
from audit.handlers.router import calls
from audit.handlers.router.calls import Answer, Call, Out, ask, unavailable
from audit.handlers.router.merging import END, Page, Position, merged

FRESH = 10.0  # seconds that a partner's number of guests is used
GUESTS = "/v1/guests"
LIMIT = 50


@dataclass
class _Known:
    """Of each partner how many guests it has had, and until when that is new enough; which tenants it has none of."""

    guests: dict[str, tuple[float, int]] = field(default_factory=dict)
    strangers: dict[tuple[str, str, str | None], int] = field(default_factory=dict)


_known = _Known()


def get_events(request: Request) -> Reply:
    """GET /v1/events: as a cell's own, of all cells that have the tenant's events.

    `incomplete` names the cells that can't be asked now: theirs are missing in this answer.
    """
    caller = authenticate(request, "tenant", "read")
    known = directory()
    call = replace(Call.of(request, "query"), query=_without_signature(request))
    places = known.places(caller.application, caller.tenant)
    more, silent = guests_at(known, places, caller, call)
    cells = [*places, *more]
    position = _position(request, caller, call)
    answers = _asked(known, cells, position, call)
    if refused := next(
        (answer for answer in answers.values() if answer is not None and answer.status != 200), None
    ):
        return refused.reply()
    pages = {cell: _page(answer) for cell, answer in answers.items() if answer is not None}
    out = [*(cell for cell, answer in answers.items() if answer is None), *silent]
    if not pages and out:
        raise unavailable(out)
    events, after = merged(pages, position, _limit(call))
    goes_on = any(after.cursors.get(cell) != END for cell in cells if cell not in out)
    cursor = after.text(caller.secret, _question(call)) if goes_on else None
    missing = {"incomplete": sorted(out)} if out else {}
    first = next(iter(answers.values()), None)
    more_said = first.json if first else {}
    return Reply(200, {**more_said, "events": events, "cursor": cursor, **missing})


def guests_at(
    known: Directory, places: Sequence[str], caller: Caller, call: Call
) -> tuple[list[str], list[str]]:
    """The failover partners, of now or before, that have events of the caller, and those that can't be asked whether
    they do."""
    partners = [partner for cell in places for partner in known.took_over(cell) if partner not in places]
    found, silent = [], []
    for partner in dict.fromkeys(partners):
        try:
            if _is_guest(known, partner, caller, call):
                found.append(partner)
        except Out:
            silent.append(partner)
    return found, silent


def _is_guest(known: Directory, partner: str, caller: Caller, call: Call) -> bool:
    until, number = _known.guests.get(partner, (0.0, 0))
    who = (partner, caller.application, caller.tenant)
    if calls.clock() < until and (number == 0 or _known.strangers.get(who) == number):
        return False
    asked = replace(call, method="GET", path=GUESTS, query=(), body=b"")
    answer = ask(known, partner, asked, tries=1)
    if answer.status not in (200, 404):
        raise Out(f"{partner} answers {answer.status}")
    # A release of before knows no such path, and marks nobody: what it took in is read after a `reindex` there.
    told = answer.json if answer.status == 200 else {"guests": 0, "guest": False}
    _known.guests[partner] = (calls.clock() + FRESH, told["guests"])
    if told["guest"]:
        return True
    _known.strangers[who] = told["guests"]
    return False


def _asked(
    known: Directory, cells: Sequence[str], position: Position, call: Call
) -> Mapping[str, Answer | None]:
    """What each cell that is not at its end answers, all at once; None of one that is out."""
    left = [cell for cell in cells if position.cursors.get(cell) != END]

    def one(cell: str) -> Answer | None:
        own = position.cursors.get(cell)
        query = tuple(pair for pair in call.query if pair[0] != "cursor")
        try:
            return ask(known, cell, replace(call, query=(*query, ("cursor", own)) if own else query))
        except Out:
            return None

    if len(left) < 2:
        return {cell: one(cell) for cell in left}
    with ThreadPoolExecutor(len(left)) as pool:
        return dict(zip(left, pool.map(one, left), strict=True))


def _page(answer: Answer) -> Page:
    found = answer.json
    return Page(found["events"], found["cursor"] or END)


def _position(request: Request, caller: Caller, call: Call) -> Position:
    cursor = dict(request.query).get("cursor")
    if cursor is None:
        return Position()
    found = Position.of(cursor, caller.secret, _question(call))
    if found is None:
        raise ApiError(400, "invalid_cursor", "cursor: is not one that this key got for this question")
    return found


def _limit(call: Call) -> int:
    """How many events are asked for; a cell says what is wrong with a number that is none."""
    text = dict(call.query).get("limit", "")
    return int(text) if text.isascii() and text.isdigit() else LIMIT


def _question(call: Call) -> list[tuple[str, str]]:
    """What a cursor is bound to: all but how many events an answer has."""
    return sorted(pair for pair in call.query if pair[0] not in ("cursor", "limit"))


def _without_signature(request: Request) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in request.query if not pair[0].startswith("X-Amz-"))


def forget() -> None:
    """Know nothing of any partner."""
    _known.guests.clear()
    _known.strangers.clear()
