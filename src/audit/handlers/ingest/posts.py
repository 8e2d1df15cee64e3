"""Events that are posted: all of a post are accepted, or none. Accepted means: durable in the landing bucket."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from typing import Any

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.directory import Caller, Directory, authenticate, directory
from audit.handlers.common.event_schema import EVENT
from audit.handlers.common.events import MAX_EVENTS, problems
from audit.handlers.common.exact import write
from audit.handlers.common.http import ApiError, Reply, Request
from audit.handlers.common.index import event_id
from audit.handlers.common.operations import Operation, Parameter, record, reference
from audit.handlers.ingest.acceptance import DIGEST, POST, acceptance, is_post
from audit.handlers.ingest.objects import put_new

KEY = "Idempotency-Key"
PREFIX = (
    "post-"  # of their names: by it the API may look whether one is there, and at nothing else that landed
)
_A_KEY = re.compile(r"[!-~]{1,255}")
_SHOWN = 20  # problems listed in one answer


def post_events(request: Request) -> Reply:
    """POST /v1/events: one event, a list of them, or {"events": [...]}; 202 has their ids in that order.

    `waiting` names the tenants that are not registered yet: their events wait until they are, for a stated time.
    With an `Idempotency-Key`, the same post is stored once and answered the same however often it comes.
    """
    caller = authenticate(request, "application", "write")
    events = _events(request.json())
    _check_shape(events)
    known = directory()
    lines = [write(event).encode() for event in events]
    key = _landing_key(caller, request)
    _store(key, lines, known)
    ids = [event_id(key, number, line) for number, line in enumerate(lines, start=1)]
    waiting = sorted({event["tenantId"] for event in events} - known.tenants(caller.application))
    return Reply(202, {"accepted": len(events), "eventIds": ids, "waiting": waiting})


def _landing_key(caller: Caller, request: Request) -> str:
    """Where the post lies: the same for every attempt with the same key of the application."""
    given = request.headers.get(KEY.lower())
    if given is None:
        return f"{caller.application}/{PREFIX}{uuid.uuid4()}.jsonl"
    if not _A_KEY.fullmatch(given):
        found = f"{len(given)} characters, {given[:40]!r}"
        raise ApiError(
            400,
            "invalid_idempotency_key",
            f"{KEY}: found {found}, expected 1 to 255 of visible ASCII; none was accepted",
        )
    return f"{caller.application}/{PREFIX}{hashlib.sha256(given.encode()).hexdigest()}.jsonl"


def _store(key: str, lines: Sequence[bytes], known: Directory) -> None:
    """Put a post, unless that very post is there; raises ApiError 409 when another one is."""
    body = b"".join(line + b"\n" for line in lines)
    digest = hashlib.sha256(body).hexdigest()
    if put_new("LANDING_BUCKET", key, body, {**acceptance(POST, known), DIGEST: digest}):
        return
    found = s3().head_object(Bucket=setting("LANDING_BUCKET"), Key=key)["Metadata"]
    if not is_post(found) or found.get(DIGEST) != digest:
        raise ApiError(
            409,
            "idempotency_conflict",
            f"{KEY}: came with other events before; send these with another key; none of them was accepted",
        )


def _events(body: Any) -> list[Any]:
    if isinstance(body, list):
        events, name = body, "the list"
    elif not isinstance(body, dict):
        raise ApiError(400, "invalid_body", 'the body must be an event, a list of them or {"events": [...]}')
    elif "events" not in body or "eventName" in body:
        return [body]
    else:
        events, name = body["events"], "'events'"
        extra = sorted(set(body) - {"events"})
        if extra:
            raise ApiError(400, "invalid_body", f"unknown beside 'events': {', '.join(extra)}"[:300])
    if not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS:
        found = f"{len(events)} of them" if isinstance(events, list) else "no list"
        raise ApiError(
            400, "invalid_body", f"{name}: found {found}, expected a list of 1 to {MAX_EVENTS} events"
        )
    return events


def _check_shape(events: list[Any]) -> None:
    wrong = [(index, problem) for index, event in enumerate(events) for problem in problems(event)]
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


_EVENTS = {"type": "array", "items": reference(EVENT), "minItems": 1, "maxItems": MAX_EVENTS}
POSTING = Operation(
    "POST /v1/events",
    post_events,
    "postEvents",
    "Events, all of which are accepted or none. Their ids are in the order of the post.",
    (
        202,
        record(
            accepted={"type": "integer", "minimum": 1},
            eventIds={"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_EVENTS},
            waiting={
                "type": "array",
                "items": {"type": "string"},
                "description": "Tenants that are not registered yet: their events wait until they are, for 14 days.",
            },
        ),
    ),
    key=("application", "write"),
    parameters=[
        Parameter(
            KEY,
            "The same post with the same key is stored once, and answered the same.",
            {"type": "string", "pattern": f"^{_A_KEY.pattern}$"},
            place="header",
        )
    ],
    body={"anyOf": [reference(EVENT), _EVENTS, {**record(events=_EVENTS), "additionalProperties": False}]},
    errors={
        400: ["invalid_json", "invalid_body", "invalid_events", "invalid_idempotency_key"],
        409: ["idempotency_conflict"],
    },
)
