"""What an application sends on any day, rehearsed as posts."""

from __future__ import annotations

import json
from typing import Any

from audit.handlers.common.aws import setting
from audit.handlers.common.rehearsal import TENANT, Handler, Stage, insist

POST, SESSION = "POST /v1/events", "GET /applications/session"

LEAST = {"tenantId": TENANT, "eventTime": "2025-01-01T00:00:00Z", "eventName": "login"}
MOST = {
    **LEAST,
    "actor": {"id": "someone", "details": {"role": "member"}},
    "resources": [{"id": "something", "details": {}}, {"id": "other"}],
    "context": {"sourceIpAddress": "192.0.2.1", "userAgent": 'a "browser"'},
    "eventDetails": {"changed": [1, 2.5, None, True], "note": "ünïcode"},
    "tags": {"a": "b"},
}


def play_api(handler: Handler, stage: Stage) -> None:
    """A session opens for uploads under the own prefix; posts of one event and of several lie in the landing bucket,
    and one that comes again lies there once."""
    session = stage.ask(handler, SESSION, stage.application)
    insist({"policy", "x-amz-signature"} <= session["form"].keys(), "the session's form is not signed")
    once = {"idempotency-key": "once"}
    first, *others = (
        stage.ask(handler, POST, stage.application, body, once if body == [LEAST, MOST] else None)
        for body in ([LEAST, MOST], LEAST, {"events": [LEAST, MOST]}, [LEAST, MOST])
    )
    insist(others[-1] == first, f"the same post is answered {first} and {others[-1]}")
    told = [identity for answer in (first, *others[:-1]) for identity in answer["eventIds"]]
    insist(len(set(told)) == 5, f"the ids of 5 events are {told}")
    lines = [line for content, _ in landed(stage).values() for line in content.splitlines()]
    insist(
        [json.loads(line) for line in lines] == [LEAST, MOST, LEAST, LEAST, MOST],
        "the landing bucket holds other events",
    )


def landed(stage: Stage) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """What lies in the landing bucket: content and metadata by key."""
    return {
        key: found for (bucket, key), found in stage.objects.items() if bucket == setting("LANDING_BUCKET")
    }
