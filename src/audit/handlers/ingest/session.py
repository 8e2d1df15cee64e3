"""The ingest API: upload sessions and direct posts. Accepted means: durable in the landing bucket."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Mapping
from typing import Any

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.digest import healthz
from audit.handlers.common.directory import Caller, authenticate, directory
from audit.handlers.common.events import MAX_EVENTS, problems
from audit.handlers.common.exact import write
from audit.handlers.common.http import ApiError, Reply, Request, serve
from audit.handlers.common.rehearsal import rehearsed
from audit.handlers.ingest.acceptance import POST, UPLOAD, acceptance
from audit.handlers.ingest.rehearsal import play_api

SESSION_SECONDS = 900
MAX_UPLOAD_BYTES = 10 * 1024 * 1024
_SHOWN = 20  # problems listed in one answer


@rehearsed(play_api)
def handler(event: Mapping[str, Any], _context: object = None) -> dict[str, object]:
    """Answer one request of the HTTP API."""
    return serve(event, _ROUTES)


def open_session(request: Request) -> Reply:
    """GET /applications/session: a POST policy to upload objects under the application's own prefix."""
    caller = authenticate(request, "application", "write")
    prefix = f"{caller.application}/"
    fields = {f"x-amz-meta-{name}": value for name, value in acceptance(UPLOAD, directory()).items()}
    post = s3().generate_presigned_post(
        Bucket=setting("LANDING_BUCKET"),
        # The name is the client's to choose: botocore turns this into a `starts-with $key` condition.
        Key=prefix + "${filename}",
        Fields=dict(fields),
        # S3 takes these fields with these values, and no others.
        Conditions=[
            *({name: value} for name, value in fields.items()),
            ["content-length-range", 1, MAX_UPLOAD_BYTES],
        ],
        ExpiresIn=SESSION_SECONDS,
    )
    form = {name: value for name, value in post["fields"].items() if name != "key"}
    return Reply(200, {"uploadUrl": os.environ.get("UPLOAD_URL") or post["url"], "form": form})


def post_events(request: Request) -> Reply:
    """POST /v1/events: one event or {"events": [...]}; all are accepted or none."""
    caller = authenticate(request, "application", "write")
    events = _events(request.json())
    _check_shape(events)
    known = directory()
    _check_tenants(caller, events, known.tenants(caller.application))
    lines = "".join(f"{write(event)}\n" for event in events)
    s3().put_object(
        Bucket=setting("LANDING_BUCKET"),
        Key=f"{caller.application}/{uuid.uuid4()}.jsonl",
        Body=lines.encode(),
        ContentType="application/jsonl",
        Metadata=acceptance(POST, known),
    )
    return Reply(202, {"accepted": len(events)})


def _events(body: Any) -> list[Any]:
    if not isinstance(body, dict):
        raise ApiError(400, "invalid_body", 'the body must be an event or {"events": [...]}')
    if "events" not in body or "eventName" in body:
        return [body]
    events = body["events"]
    extra = sorted(set(body) - {"events"})
    if extra:
        raise ApiError(400, "invalid_body", f"unknown beside 'events': {', '.join(extra)}"[:300])
    if not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS:
        found = f"{len(events)} of them" if isinstance(events, list) else "no list"
        raise ApiError(
            400, "invalid_body", f"'events': found {found}, expected a list of 1 to {MAX_EVENTS} events"
        )
    return events


def _check_shape(events: list[Any]) -> None:
    wrong = [(index, problem) for index, event in enumerate(events) for problem in problems(event)]
    if not wrong:
        return
    index, first = wrong[0]
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    raise ApiError(
        400,
        "invalid_events",
        f"events[{index}].{first}{more}; none was accepted",
        [problem.at(at) for at, problem in wrong[:_SHOWN]],
    )


def _check_tenants(caller: Caller, events: list[Any], registered: Collection[str]) -> None:
    for index, event in enumerate(events):
        if event["tenantId"] not in registered:
            raise ApiError(
                403,
                "foreign_tenant",
                f"events[{index}].tenantId: {event['tenantId']} is not registered to {caller.application}; "
                "none was accepted",
            )


_ROUTES = {
    "GET /healthz": healthz,
    "GET /applications/session": open_session,
    "POST /v1/events": post_events,
}
