"""Exports: a tenant asks for a file of its events, looks how far it is, and fetches it by a URL that soon dies."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from boto3.dynamodb.conditions import Key

from audit.handlers.common import aws
from audit.handlers.common.aws import setting, table
from audit.handlers.common.directory import Caller, authenticate
from audit.handlers.common.exact import write
from audit.handlers.common.http import ApiError, Reply, Request
from audit.handlers.common.index import partition
from audit.handlers.common.internal import Actor, Internal, tell
from audit.handlers.common.operations import Operation, Parameter, record
from audit.handlers.query.jobs import FAILED, PENDING, READY, file_of, is_id, new_row, shown, state_of, when
from audit.handlers.query.limits import admit
from audit.handlers.query.parameters import FILTERS, SPAN, TENANT
from audit.handlers.query.search import Search

URL_SECONDS = 600
MOST_PENDING = 3  # of a tenant at once
MOST_KEPT = 100  # of a tenant, within the days that they are kept
FORMATS = ("csv", "csv.gz", "jsonl", "jsonl.gz", "ocsf.jsonl", "ocsf.jsonl.gz", "parquet")
_NARROWING = (*TENANT, *FILTERS, *SPAN)

clock = time.time


def create_export(request: Request) -> Reply:
    """POST /v1/exports: begin one; 202 has its id."""
    caller = _caller(request)
    begun = begin(caller, Actor.of(caller), request.json())
    return Reply(202, begun, {"location": f"/v1/exports/{begun['id']}"})


def begin(caller: Caller, actor: Actor, body: Any) -> dict[str, Any]:
    """Begin the export that a body asks for, as it is shown, and as the log tells of it; raises ApiError 400 or 429."""
    form, asked = _asked(body)
    search = Search.of(asked.items(), caller)
    now = clock()
    _refuse_more(caller, now)
    row = new_row(search, form, asked, now)
    # Before it is one: nothing is exported that the tenant's log does not tell of.
    tell(
        Internal(
            caller.application,
            caller.tenant or "",
            "audit.export.created",
            actor,
            datetime.fromtimestamp(now, UTC),
            row["sk"],
            {"export": row["sk"], "format": form, "filters": asked},
        )
    )
    rows = table(setting("EXPORTS_TABLE"))
    rows.put_item(Item=row)
    try:
        aws.sqs().send_message(
            QueueUrl=setting("EXPORTS_QUEUE"),
            MessageBody=json.dumps({name: row[name] for name in ("pk", "sk")}),
        )
    except Exception:
        rows.put_item(Item={**row, "state": FAILED})
        raise
    return shown(row, now)


def get_export(request: Request) -> Reply:
    """GET /v1/exports/{id}: how far it is, and when it is ready a new URL."""
    return Reply(200, one_of(_caller(request), request.path.rpartition("/")[2]))


def one_of(caller: Caller, identity: str) -> dict[str, Any]:
    """One of the caller's own exports as it is shown, with a URL when it is ready; raises ApiError 404."""
    now = clock()
    row = _row(caller, identity, now)
    export = shown(row, now)
    if row["state"] == READY:
        name = f"events-{row['sk']}.{row['format']}"
        export["url"] = aws.s3().generate_presigned_url(
            "get_object",
            Params={
                "Bucket": setting("EXPORTS_BUCKET"),
                "Key": file_of(row),
                "ResponseContentDisposition": f'attachment; filename="{name}"',
            },
            ExpiresIn=URL_SECONDS,
        )
        export["urlExpires"] = when(now + URL_SECONDS)
    return export


def list_exports(request: Request) -> Reply:
    """GET /v1/exports: the tenant's own, newest first."""
    return Reply(200, {"exports": all_of(_caller(request))})


def all_of(caller: Caller) -> list[dict[str, Any]]:
    """The caller's own exports as they are shown, newest first."""
    now = clock()
    return [shown(row, now) for row in _rows(caller, now)]


def _caller(request: Request) -> Caller:
    caller = authenticate(request, "tenant", "export")
    admit(caller)
    return caller


def _asked(body: Any) -> tuple[str, dict[str, str]]:
    """The format, and what narrows; raises ApiError 400."""
    if not isinstance(body, dict):
        raise ApiError(
            400, "invalid_body", 'the body must be an object such as {"format": "csv", "eventName": "login"}'
        )
    known = ["format", *(one.name for one in _NARROWING)]
    for name, value in body.items():
        if name not in known:
            raise ApiError(400, "invalid_parameter", f"{name[:60]}: unknown; there are {', '.join(known)}")
        if not isinstance(value, str):
            raise ApiError(
                400,
                "invalid_parameter",
                f"{name}: found {write(value)[:60]}, expected a text",
            )
    form = body.get("format")
    if form not in FORMATS:
        found = "nothing" if form is None else str(form)[:60]
        raise ApiError(
            400, "invalid_parameter", f"format: found {found}, expected one of {', '.join(FORMATS)}"
        )
    return form, {name: value for name, value in body.items() if name != "format"}


def _refuse_more(caller: Caller, now: float) -> None:
    """Two that ask at once may both be let in."""
    rows = _rows(caller, now)
    pending = sum(state_of(row, now) == PENDING for row in rows)
    if pending >= MOST_PENDING or len(rows) >= MOST_KEPT:
        raise ApiError(
            429,
            "too_many_exports",
            f"{pending} exports are pending and {len(rows)} kept, of at most {MOST_PENDING} and {MOST_KEPT}",
            headers={"retry-after": "60"},
        )


def _rows(caller: Caller, now: float) -> list[Mapping[str, Any]]:
    """The rows of the caller's own exports, newest first."""
    mine = Key("pk").eq(partition(caller.application, caller.tenant or ""))
    asked: Any = {"KeyConditionExpression": mine, "ScanIndexForward": False, "ConsistentRead": True}
    # A page is 1 MB, and the row of one large export can be a third of that.
    answer = table(setting("EXPORTS_TABLE")).query(**asked)
    rows = answer["Items"]
    while last := answer.get("LastEvaluatedKey"):
        answer = table(setting("EXPORTS_TABLE")).query(**asked, ExclusiveStartKey=last)
        rows += answer["Items"]
    return [row for row in rows if int(str(row["expires"])) > now]


def _row(caller: Caller, identity: str, now: float) -> Mapping[str, Any]:
    """The row of one of the caller's own exports; raises ApiError 404 for any other id."""
    place = {"pk": partition(caller.application, caller.tenant or ""), "sk": identity}
    answer: Any = {}
    if is_id(identity):
        answer = table(setting("EXPORTS_TABLE")).get_item(Key=place, ConsistentRead=True)
    row = answer.get("Item")
    if row is None or int(row["expires"]) <= now:
        raise ApiError(404, "not_found", "there is no such export; GET /v1/exports has those that there are")
    return row  # type: ignore[no-any-return]


_TEXT = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_EXPORT = record(
    id=_TEXT,
    state={"enum": [PENDING, READY, FAILED]},
    format={"enum": list(FORMATS)},
    filters={"type": "object", "additionalProperties": _TEXT},
    rows={"type": "integer", "minimum": 0, "description": "Events so far."},
    created=_TIME,
    expires=_TIME,
)
_WITH_URL = {
    **_EXPORT,
    "properties": {
        **_EXPORT["properties"],
        "url": {
            "type": "string",
            "format": "uri",
            "description": "Good for ten minutes; ask again for another.",
        },
        "urlExpires": _TIME,
        "reason": {"type": "string", "description": "Why it is an error."},
    },
}
_TOO_MANY = "too_many_requests"
_KEY: Any = ("tenant", "export")
OPERATIONS = (
    Operation(
        "POST /v1/exports",
        create_export,
        "createExport",
        "Begin a file of all events that a question asks for, newest first.",
        (202, _EXPORT),
        key=_KEY,
        body={
            "type": "object",
            "properties": {"format": {"enum": list(FORMATS)}, **{one.name: one.schema for one in _NARROWING}},
            "required": ["format"],
            "additionalProperties": False,
        },
        errors={
            400: ["invalid_json", "invalid_body", "invalid_parameter"],
            403: ["foreign_tenant"],
            429: [_TOO_MANY, "too_many_exports"],
        },
    ),
    Operation(
        "GET /v1/exports",
        list_exports,
        "listExports",
        "The tenant's own exports, newest first.",
        (200, record(exports={"type": "array", "items": _EXPORT})),
        key=_KEY,
        errors={429: [_TOO_MANY]},
    ),
    Operation(
        "GET /v1/exports/{id}",
        get_export,
        "getExport",
        "How far an export is; when it is ready, a URL to fetch it from.",
        (200, _WITH_URL),
        key=_KEY,
        parameters=[Parameter("id", "As it was answered.", _TEXT, place="path")],
        errors={404: ["not_found"], 429: [_TOO_MANY]},
    ),
)
