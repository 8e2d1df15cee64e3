"""What the API puts and what is uploaded, rehearsed with the processor: as its release has both, they are to agree."""

from __future__ import annotations

import gzip
import json

from audit.handlers.common.aws import setting
from audit.handlers.common.rehearsal import APPLICATION, TENANT, Handler, Refused, Stage, insist
from audit.handlers.ingest import session
from audit.handlers.ingest.acceptance import SESSION, is_post, new_session
from audit.handlers.ingest.keeping import REJECTED as KEPT_REJECTED
from audit.handlers.ingest.keeping import WAITING
from audit.handlers.ingest.rehearsal import LEAST, MOST, POST, REPLAY, landed

UPLOADED = (f"{APPLICATION}/upload.jsonl", f"{APPLICATION}/again.jsonl")


def play_processor(handler: Handler, stage: Stage) -> None:
    """What the API puts is archived and indexed under the ids that it told, and so is what is uploaded: the same file
    once, however often and under whatever name it comes in its session. Strangers wait, and what is no event is
    rejected, until it is one when it comes again."""
    told = stage.ask(session.handler, POST, stage.application, {"events": [LEAST, MOST]})["eventIds"]
    insist(
        all(is_post(metadata) for _, metadata in landed(stage).values()),
        "a post does not say that it is one",
    )
    upload = "".join(f"{json.dumps(event)}\n" for event in (MOST, LEAST))
    stranger = json.dumps({**LEAST, "tenantId": "stranger"})
    content = gzip.compress(f"{upload}{stranger}\nno event\n".encode())
    through = {SESSION: new_session()}
    for name in UPLOADED:
        stage.put_object(Bucket=setting("LANDING_BUCKET"), Key=name, Body=content, Metadata=through)
    _process(handler, list(landed(stage)))
    archived = _archived(stage, f"{APPLICATION}/{TENANT}/")
    events = [json.loads(line) for body in archived for line in body.splitlines()]
    ids = [event.pop("eventId") for event in events]
    insist(events == [LEAST, MOST, MOST, LEAST], "the archive holds other events")
    insist(ids[:2] == told, f"the archive has {ids[:2]} of what was told as {told}")
    # By its place among the parameters: an item's are those of its fields.
    indexed = {parameters[2] for parameters in stage.items}
    insist(indexed == set(ids), f"{len(indexed)} of {len(ids)} events are indexed")
    waiting = [key for key in landed(stage) if key.startswith(f"{WAITING}/{APPLICATION}/stranger/")]
    insist(len(waiting) == 1, f"{len(waiting)} of 1 objects wait")
    rejected = _archived(stage, f"{KEPT_REJECTED}/{APPLICATION}/")
    insist({json.loads(body)["text"] for body in rejected} == {"no event"}, f"{rejected} is rejected")
    _again(handler, stage)


def _again(handler: Handler, stage: Stage) -> None:
    """A rejected line that is an event by now is archived once, however often it is put through."""
    place = "2025/01/01/a.jsonl"
    record = {"line": 1, "reason": "why", "text": json.dumps(MOST)}
    key = f"{KEPT_REJECTED}/{APPLICATION}/{place}"
    stage.put_object(Bucket=setting("ARCHIVE_BUCKET"), Key=key, Body=json.dumps(record).encode())
    before = len(_archived(stage, f"{APPLICATION}/"))
    known = set(landed(stage))
    stage.ask(session.handler, REPLAY, stage.application, {"object": place})
    for _ in range(2):
        _process(handler, [name for name in landed(stage) if name not in known])
    more = len(_archived(stage, f"{APPLICATION}/")) - before
    insist(more == 1, f"a replay is archived as {more} objects")


def _process(handler: Handler, keys: list[str]) -> None:
    bucket = {"name": setting("LANDING_BUCKET")}
    records = [{"s3": {"bucket": bucket, "object": {"key": key, "versionId": "1"}}} for key in keys]
    message = {"messageId": "rehearsal", "body": json.dumps({"Records": records})}
    answer = handler({"Records": [message]}, None)
    if answer != {"batchItemFailures": []}:
        raise Refused(f"the processor answers {answer}")


def _archived(stage: Stage, prefix: str) -> list[bytes]:
    return [
        body
        for (bucket, key), (body, _) in stage.objects.items()
        if bucket == setting("ARCHIVE_BUCKET") and key.startswith(prefix)
    ]
