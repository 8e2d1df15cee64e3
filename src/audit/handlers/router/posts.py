"""A post to a region: each event goes to its tenant's home, or while that is out to its failover partner."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from audit.handlers.common.directory import Directory, authenticate, directory
from audit.handlers.common.exact import write
from audit.handlers.common.http import Reply, Request
from audit.handlers.common.posting import KEY, Post, Wrong, refuse, unfit
from audit.handlers.router.calls import Answer, Call, Out, ask, unavailable, with_partner


@dataclass(frozen=True)
class Part:
    """The events of a post whose home is one cell, by their numbers in the whole."""

    home: str
    at: tuple[int, ...]


def post_events(request: Request) -> Reply:
    """POST /v1/events: as a cell's own. All is looked at before any is sent, and an attempt is known by its key."""
    caller = authenticate(request, "application", "write")
    post = Post.of(request)
    known = directory()
    parts = parted([known.places(caller.application, event["tenantId"])[:1] for event in post.events])
    call = Call.of(request, "events")
    # Two tries of ours are one post, too.
    key = post.key or str(uuid.uuid4())
    call = replace(call, headers={**call.headers, KEY.lower(): key})
    calls = [call] if len(parts) == 1 else [replace(call, body=_body(post, part)) for part in parts]
    wrong = unfit(post.events, known, caller.application)
    if post.key is None:
        refuse(wrong)
    _send_first(known, {index for index, _ in wrong}, parts, calls, wrong)
    with ThreadPoolExecutor(len(parts)) as pool:
        answers = list(pool.map(partial(_send, known), parts, calls))
    taken = [answer for answer in answers if answer is not None]
    if len(taken) < len(parts):
        # Sent again with its key, what the others took is stored once.
        out = [part.home for part, answer in zip(parts, answers, strict=True) if answer is None]
        raise unavailable(
            out, "" if post.key else f"; with the header '{KEY}: {key}' nothing of it is stored twice"
        )
    refused = [answer for answer in taken if answer.status != 202]
    if refused or len(parts) == 1:
        return (refused or taken)[0].reply()
    return Reply(202, joined([answer.json for answer in taken], parts))


def parted(homes: Sequence[Sequence[str]]) -> list[Part]:
    """A part for each home, of the numbers of its events. Pure."""
    found: dict[str, list[int]] = {}
    for number, home in enumerate(homes):
        found.setdefault(home[0] if home else "", []).append(number)
    return [Part(home, tuple(numbers)) for home, numbers in found.items()]


def joined(told: Sequence[Any], parts: Sequence[Part]) -> dict[str, Any]:
    """One answer of those of all parts, ids in the order of the whole post. Pure."""
    ids = dict(
        pair
        for answer, part in zip(told, parts, strict=True)
        for pair in zip(part.at, answer["eventIds"], strict=True)
    )
    waiting = sorted({tenant for answer in told for tenant in answer["waiting"]})
    return {"accepted": len(ids), "eventIds": [ids[number] for number in sorted(ids)], "waiting": waiting}


def _body(post: Post, part: Part) -> bytes:
    numbers = post.at or range(len(post.events))
    content = {"events": [post.events[one] for one in part.at], "at": [numbers[one] for one in part.at]}
    # As short as it may have come: in ASCII it could be thrice that, and more than a function takes.
    return write(content, only_ascii=False).encode()


def _send_first(
    known: Directory, unfit_ones: set[int], parts: Sequence[Part], calls: Sequence[Call], wrong: Wrong
) -> None:
    """Of a post that was accepted before a newer schema came, the cells know that, and answer it the same. Any other is
    refused by them, before anything of it is sent to those that would take it."""
    for part, call in zip(parts, calls, strict=True):
        if unfit_ones.intersection(part.at):
            answer = _send(known, part, call)
            if answer is None:
                raise unavailable([part.home])
            if answer.status != 202:
                refuse(wrong)


def _send(known: Directory, part: Part, call: Call) -> Answer | None:
    """What the home answers, or its partner; None when both are out."""
    for cell in with_partner(known, part.home):
        try:
            return ask(known, cell, call)
        except Out:
            continue
    return None
