"""What waits for a tenant that is registered, rehearsed."""

from __future__ import annotations

import json

from audit.handlers.common.aws import setting
from audit.handlers.common.rehearsal import APPLICATION, TENANT, Handler, Stage, insist
from audit.handlers.ingest.rehearsal import LEAST

PLACE = f"{APPLICATION}/{TENANT}/2025/01/01/waited.jsonl"
STRANGER = f"_waiting/{APPLICATION}/stranger/2025/01/01/waits.jsonl"


def play_waiting(handler: Handler, stage: Stage) -> None:
    """It is archived, indexed and waits no more; what waits for nobody known stays."""
    line = json.dumps({"eventId": "id", **LEAST}).encode() + b"\n"
    landing, archive = setting("LANDING_BUCKET"), setting("ARCHIVE_BUCKET")
    for key in (f"_waiting/{PLACE}", STRANGER):
        stage.put_object(Bucket=landing, Key=key, Body=line)
    handler({"time": "2025-01-01T00:01:00Z"}, None)
    kept = {place: body for place, (body, _) in stage.objects.items() if place[0] in (landing, archive)}
    insist(kept == {(landing, STRANGER): line, (archive, PLACE): line}, f"there are {sorted(kept)}")
    insist(len(stage.items) == 1, f"{len(stage.items)} of 1 events are indexed")
