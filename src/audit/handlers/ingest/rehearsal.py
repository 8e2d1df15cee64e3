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
    """A session opens for uploads under the own prefix; posts of one event and of several lie in the landing bucket."""
    session = stage.ask(handler, SESSION, stage.application)
    insist({"policy", "x-amz-signature"} <= session["form"].keys(), "the session's form is not signed")
    for body, count in ((LEAST, 1), ({"events": [LEAST, MOST]}, 2)):
        answer = stage.ask(handler, POST, stage.application, body)
        insist(answer == {"accepted": count}, f"a post of {count} is answered {answer}")
    lines = [line for content, metadata in landed(stage).values() for line in content.splitlines()]
    insist(
        [json.loads(line) for line in lines] == [LEAST, LEAST, MOST],
        "the landing bucket holds other events",
    )


def landed(stage: Stage) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """What lies in the landing bucket: content and metadata by key."""
    return {
        key: found for (bucket, key), found in stage.objects.items() if bucket == setting("LANDING_BUCKET")
    }
