"""What the API puts and what is uploaded, rehearsed with the processor: as its release has both, they are to agree."""

from __future__ import annotations

import json

from audit.handlers.common.aws import setting
from audit.handlers.common.rehearsal import APPLICATION, TENANT, Handler, Refused, Stage, insist
from audit.handlers.ingest import session
from audit.handlers.ingest.acceptance import is_post
from audit.handlers.ingest.rehearsal import LEAST, MOST, POST, landed

UPLOADED = f"{APPLICATION}/upload.jsonl"


def play_processor(handler: Handler, stage: Stage) -> None:
    """What the API puts, and the same lines uploaded, is archived and indexed whole."""
    stage.ask(session.handler, POST, stage.application, {"events": [LEAST, MOST]})
    insist(
        all(is_post(metadata) for _, metadata in landed(stage).values()),
        "a post does not say that it is one",
    )
    upload = "".join(f"{json.dumps(event)}\n" for event in (MOST, LEAST))
    stage.put_object(Bucket=setting("LANDING_BUCKET"), Key=UPLOADED, Body=upload.encode())
    bucket = {"name": setting("LANDING_BUCKET")}
    records = [{"s3": {"bucket": bucket, "object": {"key": key, "versionId": "1"}}} for key in landed(stage)]
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
    insist(events == [LEAST, MOST, MOST, LEAST], "the archive holds other events")
    insist(
        len(ids) == len(stage.items) == len(events), f"{len(stage.items)} of {len(events)} events are indexed"
    )
