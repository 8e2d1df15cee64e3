"""What an application sends on any day, rehearsed as posts."""

from __future__ import annotations

import json
from typing import Any

from audit.handlers.common.aws import setting
from audit.handlers.common.rehearsal import APPLICATION, TENANT, Handler, Stage, insist

POST, SESSION = "POST /v1/events", "GET /applications/session"
REJECTED, REPLAY = "GET /v1/rejected", "POST /v1/rejected/replay"

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
    """What an application asks on any day is answered, and what it sends lies in the landing bucket."""
    session = stage.ask(handler, SESSION, stage.application)
    insist({"policy", "x-amz-signature"} <= session["form"].keys(), "the session's form is not signed")
    _posts(handler, stage)
    _rejected(handler, stage)


def _posts(handler: Handler, stage: Stage) -> None:
    """In every form, and one that comes again lies there once; whoever is not registered waits."""
    stranger = {**LEAST, "tenantId": "stranger"}
    once = {"idempotency-key": "once"}
    first, *others = (
        stage.ask(handler, POST, stage.application, body, once if body == [LEAST, MOST] else None)
        for body in ([LEAST, MOST], LEAST, {"events": [stranger, MOST]}, [LEAST, MOST])
    )
    insist(others[-1] == first, f"the same post is answered {first} and {others[-1]}")
    told = [identity for answer in (first, *others[:-1]) for identity in answer["eventIds"]]
    insist(len(set(told)) == 5, f"the ids of 5 events are {told}")
    waiting = [answer["waiting"] for answer in (first, *others)]
    insist(waiting == [[], [], ["stranger"], []], f"who waits is told as {waiting}")
    lines = [line for content, _ in landed(stage).values() for line in content.splitlines()]
    insist(
        [json.loads(line) for line in lines] == [LEAST, MOST, LEAST, stranger, MOST],
        "the landing bucket holds other events",
    )


def _rejected(handler: Handler, stage: Stage) -> None:
    """The application reads its own, newest day first, page after page, and has a line put through again."""
    for owner, day in ((APPLICATION, "2025/01/01"), (APPLICATION, "2025/02/01"), ("other", "2025/03/01")):
        record = json.dumps({"line": 1, "reason": "why", "text": day}).encode() + b"\n"
        stage.put_object(
            Bucket=setting("ARCHIVE_BUCKET"), Key=f"_rejected/{owner}/{day}/a.jsonl", Body=record
        )
    page = stage.ask(handler, REJECTED, stage.application, limit=1)
    rest = stage.ask(handler, REJECTED, stage.application, limit=2, cursor=page["cursor"])
    found = [(one["object"], one["line"], one["text"]) for one in page["rejected"] + rest["rejected"]]
    insist(
        found == [("2025/02/01/a.jsonl", 1, "2025/02/01"), ("2025/01/01/a.jsonl", 1, "2025/01/01")],
        f"{found} is told as rejected",
    )
    before = len(landed(stage))
    again = {"object": found[0][0], "line": 1}
    for _ in range(2):
        answer = stage.ask(handler, REPLAY, stage.application, again)
        insist(answer == {"accepted": 1}, f"a replay is answered {answer}")
    insist(len(landed(stage)) == before + 1, "a replay lies in the landing bucket more than once, or not")


def landed(stage: Stage) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """What lies in the landing bucket: content and metadata by key."""
    return {
        key: found for (bucket, key), found in stage.objects.items() if bucket == setting("LANDING_BUCKET")
    }
