"""What the API puts and what is uploaded, rehearsed with the processor: as its release has both, they are to agree."""

from __future__ import annotations

import json

from audit.handlers.common.aws import setting
from audit.handlers.common.rehearsal import APPLICATION, TENANT, Handler, Refused, Stage, insist
from audit.handlers.ingest import session
from audit.handlers.ingest.acceptance import SESSION, is_post, new_session
from audit.handlers.ingest.rehearsal import LEAST, MOST, POST, landed

UPLOADED = (f"{APPLICATION}/upload.jsonl", f"{APPLICATION}/again.jsonl")


def play_processor(handler: Handler, stage: Stage) -> None:
    """What the API puts is archived and indexed under the ids that it told, and so is what is uploaded: the same file
    once, however often and under whatever name it comes in its session."""
    told = stage.ask(session.handler, POST, stage.application, {"events": [LEAST, MOST]})["eventIds"]
    insist(
        all(is_post(metadata) for _, metadata in landed(stage).values()),
        "a post does not say that it is one",
    )
    upload = "".join(f"{json.dumps(event)}\n" for event in (MOST, LEAST))
    through = {SESSION: new_session()}
    for name in UPLOADED:
        stage.put_object(Bucket=setting("LANDING_BUCKET"), Key=name, Body=upload.encode(), Metadata=through)
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
    ids = [event.pop("eventId") for event in events]
    insist(events == [LEAST, MOST, MOST, LEAST], "the archive holds other events")
    insist(ids[:2] == told, f"the archive has {ids[:2]} of what was told as {told}")
    # By its place among the parameters: an item's are those of its fields.
    indexed = {parameters[2] for parameters in stage.items}
    insist(indexed == set(ids), f"{len(indexed)} of {len(ids)} events are indexed")
