"""Events that are posted: all of a post are accepted, or none. Accepted means: durable in the landing bucket."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence

from botocore.exceptions import ClientError

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.directory import Caller, Directory, authenticate, directory
from audit.handlers.common.event_schema import EVENT
from audit.handlers.common.events import MAX_EVENTS
from audit.handlers.common.exact import write
from audit.handlers.common.http import ApiError, Reply, Request
from audit.handlers.common.index import event_id
from audit.handlers.common.operations import Operation, Parameter, record, reference
from audit.handlers.common.posting import A_KEY, KEY, Post, refuse, unfit
from audit.handlers.ingest.acceptance import DIGEST, POST, acceptance, is_post
from audit.handlers.ingest.landed import PREFIX, part_of, whole_of
from audit.handlers.ingest.objects import put_new


def post_events(request: Request) -> Reply:
    """POST /v1/events: one event, a list of them, or {"events": [...]}; 202 has their ids in that order.

    `waiting` names the tenants that are not registered yet: their events wait until they are, for a stated time.
    With an `Idempotency-Key`, the same post is stored once and answered the same however often it comes; a part of it
    that says its events' numbers (`at`) gives them the ids that they would have in the whole.
    """
    caller = authenticate(request, "application", "write")
    post = Post.of(request)
    known = directory()
    lines = [write(event).encode() for event in post.events]
    key = _landing_key(caller, post)
    # The line that an event stands in is its number: what is elsewhere leaves blank ones.
    places = dict(zip(post.at or range(len(lines)), lines, strict=True))
    whole = [places.get(number, b"") for number in range(max(places) + 1)]
    wrong = unfit(post.events, known, caller.application)
    # What was answered 202 is again, whatever schema is in force by now.
    if wrong and not (post.key is not None and _was_accepted(key, whole)):
        refuse(wrong)
    _store(key, whole, known)
    ids = [event_id(whole_of(key), number + 1, line) for number, line in places.items()]
    waiting = sorted({event["tenantId"] for event in post.events} - known.tenants(caller.application))
    return Reply(202, {"accepted": len(lines), "eventIds": ids, "waiting": waiting})


def _landing_key(caller: Caller, post: Post) -> str:
    """Where the post lies: the same for every attempt with the same key of the application, and the same numbers."""
    name = uuid.uuid4().hex if post.key is None else hashlib.sha256(post.key.encode()).hexdigest()
    key = f"{caller.application}/{PREFIX}{name}.jsonl"
    return key if post.at is None else part_of(key, post.at)


def _store(key: str, lines: Sequence[bytes], known: Directory) -> None:
    """Put a post, unless that very post is there; raises ApiError 409 when another one is."""
    body = _body(lines)
    digest = hashlib.sha256(body).hexdigest()
    if put_new("LANDING_BUCKET", key, body, {"Metadata": {**acceptance(POST, known), DIGEST: digest}}):
        return
    if not _is_stored(key, lines):
        raise ApiError(
            409,
            "idempotency_conflict",
            f"{KEY}: came with other events before; send these with another key; none of them was accepted",
        )


def _is_stored(key: str, lines: Sequence[bytes]) -> bool:
    """Whether that very post is what is there."""
    found = s3().head_object(Bucket=setting("LANDING_BUCKET"), Key=key)["Metadata"]
    return is_post(found) and found.get(DIGEST) == hashlib.sha256(_body(lines)).hexdigest()


def _was_accepted(key: str, lines: Sequence[bytes]) -> bool:
    """Whether that very post is there, where there may be none."""
    try:
        return _is_stored(key, lines)
    except ClientError as error:
        # Who may not list is refused what there is not.
        if error.response["Error"]["Code"] in ("404", "403"):
            return False
        raise


def _body(lines: Sequence[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


_EVENTS = {"type": "array", "items": reference(EVENT), "minItems": 1, "maxItems": MAX_EVENTS}
_POST = {
    "type": "object",
    "properties": {
        "events": _EVENTS,
        "at": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": MAX_EVENTS - 1},
            "minItems": 1,
            "maxItems": MAX_EVENTS,
            "description": "Of a part of a post that goes to several places under one Idempotency-Key: what number "
            "each event has in the whole of it, from 0 and ascending. Without it, its place in `events`.",
        },
    },
    "required": ["events"],
    "additionalProperties": False,
}
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
            {"type": "string", "pattern": f"^{A_KEY.pattern}$"},
            place="header",
        )
    ],
    body={"anyOf": [reference(EVENT), _EVENTS, _POST]},
    errors={
        400: ["invalid_json", "invalid_body", "invalid_events", "invalid_idempotency_key"],
        409: ["idempotency_conflict"],
        503: ["home_unavailable"],
    },
)
