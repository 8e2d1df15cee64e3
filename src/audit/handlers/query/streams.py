"""A tenant says where its events are to be sent, and sees how that goes."""

from __future__ import annotations

import base64
import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, cast, get_args

from botocore.exceptions import BotoCoreError, ClientError

from audit.handlers.common.aws import setting, sqs
from audit.handlers.common.directory import Caller, authenticate
from audit.handlers.common.events import Problem
from audit.handlers.common.exact import write
from audit.handlers.common.http import ApiError, Reply, Request
from audit.handlers.common.internal import Actor, Internal, tell
from audit.handlers.common.operations import Operation, Parameter, record
from audit.handlers.log import reading
from audit.handlers.log.store import Store
from audit.handlers.query.limits import admit
from audit.handlers.stream import rows
from audit.handlers.stream.destinations import FIELDS, Kind, parted, problems
from audit.handlers.stream.health import Health, State
from audit.handlers.stream.lag import behind
from audit.handlers.stream.rows import Stream
from audit.handlers.stream.wire import WEBHOOK_PREFIX

MOST = 10  # streams of a tenant
KINDS: tuple[Kind, ...] = get_args(Kind)

log = logging.getLogger(__name__)
clock = time.time


def create_stream(request: Request) -> Reply:
    """POST /v1/streams: {"destination": {"kind", …}}; what is logged from now on is sent, a test event before it."""
    caller = _caller(request)
    kind, said = _destination(_body(request, {"destination"}).get("destination"))
    if len(rows.of_tenant(caller.application, caller.tenant or "")) >= MOST:
        raise ApiError(409, "too_many_streams", f"there are {MOST} streams, which is the most; delete one")
    store = _store(caller)
    stream = Stream(
        caller.application,
        caller.tenant or "",
        f"st-{secrets.token_hex(8)}",
        kind,
        {},
        b"",
        int(clock()),
        reading.size_of(store),
    )
    stream, shown = _with_destination(stream, kind, said)
    _tell(caller, "created", stream)
    rows.add(stream)
    _wake(stream)
    return Reply(201, {**_shown(stream, store), **shown}, {"location": f"/v1/streams/{stream.id}"})


def list_streams(request: Request) -> Reply:
    """GET /v1/streams: the tenant's own, and what its role for S3 has to let in."""
    caller = _caller(request)
    streams = all_of(caller)
    trust = {
        "externalId": rows.external_id(caller.application, caller.tenant or ""),
        "principal": setting("STREAM_ROLE"),
    }
    return Reply(200, {"streams": streams, "s3": trust})


def all_of(caller: Caller) -> list[dict[str, Any]]:
    """The caller's own streams as they are shown."""
    store = _store(caller)
    return [_shown(one, store) for one in rows.of_tenant(caller.application, caller.tenant or "")]


def get_stream(request: Request) -> Reply:
    """GET /v1/streams/{id}: how it is, and how far behind."""
    caller = _caller(request)
    return Reply(200, _shown(_found(caller, request), _store(caller)))


def change_stream(request: Request) -> Reply:
    """PATCH /v1/streams/{id}: {"state": "paused" or "active"}, {"destination": …}, or both."""
    caller = _caller(request)
    body = _body(request, {"state", "destination"})
    stream, shown = _found(caller, request), dict[str, object]()
    if "destination" in body:
        kind, said = _destination(body["destination"])
        stream, shown = _with_destination(stream, kind, said)
    if body.get("state", "active") not in ("active", "paused"):
        raise _wrong([Problem("state", write(body["state"])[:80], "active or paused")])
    paused = stream.health.paused and "state" not in body
    if body.get("state") == "paused" or paused:
        stream = replace(stream, health=replace(stream.health, paused=stream.health.paused or clock()))
    else:
        stream = replace(stream, health=stream.health.resumed())
    _tell(caller, "changed", stream)
    if not rows.change(stream):
        raise ApiError(409, "changed_meanwhile", "another request changed the stream; look, and ask again")
    _wake(stream)
    return Reply(200, {**_shown(stream, _store(caller)), **shown})


def delete_stream(request: Request) -> Reply:
    """DELETE /v1/streams/{id}: nothing more is sent."""
    caller = _caller(request)
    stream = _found(caller, request)
    _tell(caller, "deleted", stream)
    rows.remove(stream)
    return Reply(200, {"id": stream.id, "deleted": True})


def _tell(caller: Caller, what: str, stream: Stream) -> None:
    """Tell the tenant's log what is about to be done: where its events go to is told before any goes there."""
    now = datetime.fromtimestamp(clock(), UTC)
    destination = {"kind": stream.kind, **stream.told}
    details = {"stream": stream.id, "state": stream.health.state(clock()), "destination": destination}
    identity = f"{stream.id}\n{stream.version}\n{now.isoformat()}"
    tell(
        Internal(
            caller.application,
            caller.tenant or "",
            f"audit.stream.{what}",
            Actor.of(caller),
            now,
            identity,
            details,
        )
    )


def _wake(stream: Stream) -> None:
    """Have the sender look at it now; when that can't be said, it does so within a minute."""
    try:
        sqs().send_message(QueueUrl=setting("STREAMS_QUEUE"), MessageBody=json.dumps(stream.place))
    except (BotoCoreError, ClientError) as error:
        log.warning("%s waits for its turn: %s", stream.id, error)


def _caller(request: Request) -> Caller:
    caller = authenticate(request, "tenant", "stream")
    admit(caller)
    return caller


def _store(caller: Caller) -> Store:
    return Store.here(caller.application, caller.tenant or "")


def _found(caller: Caller, request: Request) -> Stream:
    identity = request.path.rpartition("/")[2]
    stream = rows.found(caller.application, caller.tenant or "", identity)
    if stream is None:
        raise ApiError(404, "not_found", "there is no such stream; GET /v1/streams has those that there are")
    return stream


def _body(request: Request, known: set[str]) -> Mapping[str, Any]:
    """The body, an object of these names and no others; raises ApiError 400."""
    body = request.json()
    if not isinstance(body, dict) or not body or not body.keys() <= known:
        names = " and ".join(f'"{name}"' for name in sorted(known))
        raise ApiError(400, "invalid_body", f"the body must be an object that has {names}, and nothing else")
    return body


def _destination(said: object) -> tuple[Kind, Mapping[str, str]]:
    """The kind and the fields of what is said of a destination; raises ApiError 400 with all that is wrong."""
    if not isinstance(said, dict):
        raise _wrong([Problem("destination", write(said)[:80], f'an object with "kind", {", ".join(KINDS)}')])
    if said.get("kind") not in KINDS:
        found = write(said["kind"])[:80] if "kind" in said else "nothing"
        raise _wrong([Problem("destination.kind", found, f"one of {', '.join(KINDS)}")])
    kind = cast(Kind, said["kind"])
    fields = {name: value for name, value in said.items() if name != "kind"}
    if wrong := list(problems(kind, fields)):
        raise _wrong(wrong)
    return kind, fields


def _wrong(found: list[Problem]) -> ApiError:
    said = "; ".join(map(str, found[:3]))
    return ApiError(400, "invalid_stream", said, [asdict(one) for one in found])


def _with_destination(
    stream: Stream, kind: Kind, said: Mapping[str, str]
) -> tuple[Stream, dict[str, object]]:
    """The stream with that destination, and its secret where one is made for it: it is shown this once."""
    told, secret = parted(kind, said)
    stream, shown = replace(stream, kind=kind, told=told, sealed=b""), dict[str, object]()
    if kind == "https":
        secret = WEBHOOK_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
        shown["secret"] = secret
    return (rows.seal(stream, secret) if secret else stream), shown


def _shown(stream: Stream, store: Store) -> dict[str, Any]:
    """A stream as its tenant sees it."""
    now = clock()
    state = stream.health.state(now)
    entries, seconds = behind(stream, store, reading.size_of(store), now)
    found: dict[str, Any] = {
        "id": stream.id,
        "state": state,
        "destination": {"kind": stream.kind, **stream.told},
        "created": _when(stream.created),
        "lag": {"entries": entries, "seconds": int(seconds)},
    }
    return found | _trouble(stream.health, state)


def _trouble(health: Health, state: State) -> dict[str, object]:
    found: dict[str, object] = {}
    if health.sent:
        found["lastSent"] = _when(health.sent)
    if health.paused:
        found["pausedSince"] = _when(health.paused)
    if health.error:
        found["error"] = {"message": health.error, "since": _when(health.failing)}
        if state == "failing":
            found["error"] = {**cast(dict[str, object], found["error"]), "nextTry": _when(health.due)}
    return found


def _when(second: float) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


_TEXT = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}


def _said_of(kind: Kind, secrets_too: bool) -> dict[str, Any]:
    """The schema of a destination."""
    fields = {name: field for name, field in FIELDS[kind].items() if secrets_too or not field.secret}
    properties = {
        name: {
            "type": "string",
            "description": field.expected,
            **({"writeOnly": True} if field.secret else {}),
        }
        for name, field in fields.items()
    }
    return {
        "type": "object",
        "properties": {"kind": {"const": kind}, **properties},
        "required": ["kind", *(name for name, field in fields.items() if field.default is None)],
        "additionalProperties": False,
    }


_STREAM = record(
    id=_TEXT,
    state={"enum": list(get_args(State))},
    destination={"oneOf": [_said_of(kind, False) for kind in KINDS]},
    created=_TIME,
    lag=record(entries=_COUNT, seconds=_COUNT),
)
_MORE = {
    "lastSent": _TIME,
    "pausedSince": _TIME,
    "error": {
        "type": "object",
        "properties": {"message": _TEXT, "since": _TIME, "nextTry": _TIME},
        "required": ["message", "since"],
    },
    "secret": {
        "type": "string",
        "description": "What an https destination verifies signatures by. Shown once.",
    },
}
_STREAM = {**_STREAM, "properties": {**_STREAM["properties"], **_MORE}}
_SAID = {"oneOf": [_said_of(kind, True) for kind in KINDS]}
_KEY: Any = ("tenant", "stream")
_ID = [Parameter("id", "As it was answered.", _TEXT, place="path")]
_BUSY = {429: ["too_many_requests"]}
_WRONG = {400: ["invalid_json", "invalid_body", "invalid_stream"]}
_NONE = {404: ["not_found"]}
OPERATIONS = (
    Operation(
        "POST /v1/streams",
        create_stream,
        "createStream",
        "Send what is logged from now on to a destination: every event at least once, in the order of the log. A test "
        "event goes before; while that does not arrive the stream is `unverified`, and nothing else is sent.",
        (201, _STREAM),
        key=_KEY,
        body={
            "type": "object",
            "properties": {"destination": _SAID},
            "required": ["destination"],
            "additionalProperties": False,
        },
        errors={**_WRONG, 409: ["too_many_streams"], **_BUSY},
    ),
    Operation(
        "GET /v1/streams",
        list_streams,
        "listStreams",
        "The tenant's streams, and whom its role for S3 has to let in, by which external id.",
        (
            200,
            record(streams={"type": "array", "items": _STREAM}, s3=record(externalId=_TEXT, principal=_TEXT)),
        ),
        key=_KEY,
        errors=_BUSY,
    ),
    Operation(
        "GET /v1/streams/{id}",
        get_stream,
        "getStream",
        "How a stream is: its state, how far it is behind its log, and the last error.",
        (200, _STREAM),
        key=_KEY,
        parameters=_ID,
        errors={**_NONE, **_BUSY},
    ),
    Operation(
        "PATCH /v1/streams/{id}",
        change_stream,
        "changeStream",
        "Pause a stream, or have it go on where it was: with a test event first. A destination is said as a whole; "
        "one of kind https gets another secret.",
        (200, _STREAM),
        key=_KEY,
        parameters=_ID,
        body={
            "type": "object",
            "properties": {"state": {"enum": ["active", "paused"]}, "destination": _SAID},
            "additionalProperties": False,
        },
        errors={**_WRONG, **_NONE, 409: ["changed_meanwhile"], **_BUSY},
    ),
    Operation(
        "DELETE /v1/streams/{id}",
        delete_stream,
        "deleteStream",
        "Send nothing more.",
        (200, record(id=_TEXT, deleted={"const": True})),
        key=_KEY,
        parameters=_ID,
        errors={**_NONE, **_BUSY},
    ),
)
