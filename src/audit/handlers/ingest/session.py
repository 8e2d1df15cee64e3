"""The ingest API: upload sessions and direct posts. Accepted means: durable in the landing bucket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.directory import authenticate, directory
from audit.handlers.common.events import MAX_UPLOAD_BYTES
from audit.handlers.common.http import Reply, Request, serve
from audit.handlers.common.operations import Operation, Parameter, record, routes
from audit.handlers.common.rehearsal import rehearsed
from audit.handlers.ingest.acceptance import SESSION, UPLOAD, acceptance, new_session
from audit.handlers.ingest.posts import POSTING
from audit.handlers.ingest.rehearsal import play_api
from audit.handlers.ingest.rejected import READING, REPLAYING

SESSION_SECONDS = 900


@rehearsed(play_api)
def handler(event: Mapping[str, Any], _context: object = None) -> dict[str, object]:
    """Answer one request of the HTTP API."""
    return serve(event, _ROUTES)


def open_session(request: Request) -> Reply:
    """GET /applications/session: a POST policy to upload objects under the application's own prefix."""
    caller = authenticate(request, "application", "write")
    prefix = f"{caller.application}/"
    metadata = {**acceptance(UPLOAD, directory()), SESSION: new_session()}
    fields = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
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


_ROUTES = routes(
    "Audit events: taking them in",
    [
        Operation(
            "GET /applications/session",
            open_session,
            "openSession",
            "A form that uploads any number of files of JSON lines under the application's own prefix, for 15 minutes.",
            (
                200,
                record(
                    uploadUrl={"type": "string", "format": "uri"},
                    form={"type": "object", "additionalProperties": {"type": "string"}},
                ),
            ),
            key=("application", "write"),
            parameters=[
                Parameter(
                    "tenantId",
                    "Whose events the files mostly hold: in a region of several cells they are uploaded to its home.",
                    {"type": "string", "minLength": 1},
                )
            ],
            errors={503: ["home_unavailable"]},
        ),
        POSTING,
        READING,
        REPLAYING,
    ],
)
