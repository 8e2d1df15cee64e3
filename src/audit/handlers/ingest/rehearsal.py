"""What an application sends on any day, rehearsed: as posts, and as uploads."""

from __future__ import annotations

import json
from typing import Any

from audit.handlers.common.aws import setting
from audit.handlers.common.rehearsal import APPLICATION, TENANT, Handler, Refused, Stage, insist
from audit.handlers.ingest.acceptance import is_post

POST, SESSION = "POST /v1/events", "GET /applications/session"
UPLOADED = f"{APPLICATION}/upload.jsonl"

_LEAST = {"tenantId": TENANT, "eventTime": "2025-01-01T00:00:00Z", "eventName": "login"}
_MOST = {
    **_LEAST,
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
    for body, count in ((_LEAST, 1), ({"events": [_LEAST, _MOST]}, 2)):
        answer = stage.ask(handler, POST, stage.application, body)
        insist(answer == {"accepted": count}, f"a post of {count} is answered {answer}")
    lines = [line for content, metadata in _landed(stage).values() for line in content.splitlines()]
    insist(
        [json.loads(line) for line in lines] == [_LEAST, _LEAST, _MOST],
        "the landing bucket holds other events",
    )


def play_processor(handler: Handler, stage: Stage) -> None:
    """What the API puts, and the same lines uploaded, is archived and indexed whole."""
    from audit.handlers.ingest import session  # as its release has it: the two are to agree

    stage.ask(session.handler, POST, stage.application, {"events": [_LEAST, _MOST]})
    insist(
        all(is_post(metadata) for _, metadata in _landed(stage).values()),
        "a post does not say that it is one",
    )
    upload = "".join(f"{json.dumps(event)}\n" for event in (_MOST, _LEAST))
    stage.put_object(Bucket=setting("LANDING_BUCKET"), Key=UPLOADED, Body=upload.encode())
    bucket = {"name": setting("LANDING_BUCKET")}
    records = [{"s3": {"bucket": bucket, "object": {"key": key, "versionId": "1"}}} for key in _landed(stage)]
    message = {"messageId": "rehearsal", "body": json.dumps({"Records": records})}
    answer = handler({"Records": [message]}, None)
    if answer != {"batchItemFailures": []}:
        raise Refused(f"the processor answers {answer}")
    archived = {
        key: body for (name, key), (body, _) in stage.objects.items() if name == setting("ARCHIVE_BUCKET")
    }
    insist(
        all(key.startswith(f"{APPLICATION}/{TENANT}/") for key in archived), f"archived: {sorted(archived)}"
    )
    events = [json.loads(line) for body in archived.values() for line in body.splitlines()]
    ids = {event.pop("eventId") for event in events}
    insist(events == [_LEAST, _MOST, _MOST, _LEAST], "the archive holds other events")
    insist(
        len(ids) == len(stage.items) == len(events), f"{len(stage.items)} of {len(events)} events are indexed"
    )


def _landed(stage: Stage) -> dict[str, tuple[bytes, dict[str, Any]]]:
    return {
        key: found for (bucket, key), found in stage.objects.items() if bucket == setting("LANDING_BUCKET")
    }
