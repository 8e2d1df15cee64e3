"""What waits for a tenant that is registered, rehearsed."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from audit.handlers.common.aws import setting
from audit.handlers.common.internal import Actor, Internal, tell
from audit.handlers.common.rehearsal import APPLICATION, TENANT, Handler, Stage, insist
from audit.handlers.ingest.rehearsal import LEAST

PLACE = f"{APPLICATION}/{TENANT}/2025/01/01/waited.jsonl"
STRANGER = f"_waiting/{APPLICATION}/stranger/2025/01/01/waits.jsonl"


def play_waiting(handler: Handler, stage: Stage) -> None:
    """It is archived, indexed and waits no more; what waits for nobody known stays. Internal events do not wait."""
    line = json.dumps({"eventId": "id", **LEAST}).encode() + b"\n"
    landing, archive = setting("LANDING_BUCKET"), setting("ARCHIVE_BUCKET")
    for key in (f"_waiting/{PLACE}", STRANGER):
        stage.put_object(Bucket=landing, Key=key, Body=line)
    tell(
        Internal(
            APPLICATION,
            "stranger",
            "audit.rehearsed",
            Actor("service", "rehearsal"),
            datetime.now(UTC),
            "one",
        )
    )
    handler({"time": "2025-01-01T00:01:00Z"}, None)
    kept = {place: body for place, (body, _) in stage.objects.items() if place[0] in (landing, archive)}
    told = [place for _, place in kept if place.startswith(f"{APPLICATION}/stranger/_service/")]
    insist(len(told) == 1, f"an internal event is archived as {told}")
    kept.pop((archive, told[0]))
    insist(kept == {(landing, STRANGER): line, (archive, PLACE): line}, f"there are {sorted(kept)}")
    insist(len(stage.items) == 2, f"{len(stage.items)} of 2 events are indexed")
