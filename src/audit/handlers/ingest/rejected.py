"""What was rejected of an application: it reads its own, and has it put through again."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from audit.handlers.common.aws import s3, setting
from audit.handlers.common.directory import authenticate, directory
from audit.handlers.common.http import ApiError, Reply, Request, parse_json
from audit.handlers.common.operations import Operation, Parameter, record
from audit.handlers.ingest.acceptance import REPLAY, acceptance
from audit.handlers.ingest.records import Record, is_kept, is_place, places, records

SHOWN = 1000  # characters of a rejected text in an answer
OBJECTS = 25  # that are read for one answer; past that the cursor says where to go on
_PARAMETERS = ("limit", "cursor")
_A_PLACE = "the `object` of an answer of GET /v1/rejected"

# A place, and how many of its records are passed (several may be of one line); ("", 0) before all.
Position = tuple[str, int]


def get_rejected(request: Request) -> Reply:
    """GET /v1/rejected: {"rejected": [newest day first, of a day by object and line], "cursor": where to go on, or
    null at the end}."""
    caller = authenticate(request, "application", "read")
    limit, position = _asked(request)
    found: list[Record] = []
    for one in _from(caller.application, position):
        if one is None or len(found) == limit:
            cursor = _cursor(position) if found else None
            return Reply(200, {"rejected": [_shown(each) for each in found], "cursor": cursor})
        position, behind = one
        found.append(behind)
    return Reply(200, {"rejected": [_shown(one) for one in found], "cursor": None})


def replay_rejected(request: Request) -> Reply:
    """POST /v1/rejected/replay {"object", "line"?}: 202 {"accepted": n} when n records are to be put through again.

    However often: an event that comes of them is the same one, and is stored once. Those that can't be are passed
    over; 409 when there are no others.
    """
    caller = authenticate(request, "application", "write")
    place, line = _replay_asked(request.json())
    can = [one.replayable for one in _records(caller.application, place) if line in (None, one.line)]
    at = "" if line is None else f", line {line}"
    if not can:
        raise ApiError(404, "unknown_object", f"nothing was rejected of {place}{at}: expected {_A_PLACE}")
    if not any(can):
        raise ApiError(
            409,
            "not_replayable",
            f"{place}{at}: was refused as a whole, or is not kept byte by byte; mend it and send it again",
        )
    name = hashlib.sha256(f"{place}\n{line}".encode()).hexdigest()[:32]
    s3().put_object(
        Bucket=setting("LANDING_BUCKET"),
        Key=f"{caller.application}/replay-{name}.json",
        Body=json.dumps({"place": place, "line": line}).encode(),
        ContentType="application/json",
        Metadata=acceptance(REPLAY, directory()),
    )
    return Reply(202, {"accepted": sum(can)})


def _from(application: str, position: Position) -> Iterator[tuple[Position, Record] | None]:
    """The records behind a position, each with its own; None where so many objects were read that it is enough for one
    answer."""
    place, passed = position
    if place:
        for count, one in enumerate(_records(application, place), start=1):
            if count > passed:
                yield (place, count), one
    for read, other in enumerate(places(application, place)):
        if read == OBJECTS:
            yield None
        for count, one in enumerate(records(application, other), start=1):
            yield (other, count), one


def _records(application: str, place: str) -> Iterable[Record]:
    """Those of a place that somebody names: none where nothing is."""
    return records(application, place) if is_kept(application, place) else ()


def _shown(found: Record) -> dict[str, object]:
    return {
        "object": found.place,
        "line": found.line,
        "source": found.source,
        "eventId": found.identity,
        "time": found.time.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "reason": found.reason[:SHOWN],
        "text": found.text[:SHOWN],
        "replayable": found.replayable,
    }


def _cursor(position: Position) -> str:
    place, passed = position
    told = json.dumps({"object": place, "passed": passed})
    return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")


def _asked(request: Request) -> tuple[int, Position]:
    asked: dict[str, str] = {}
    for name, value in request.query:
        if name not in _PARAMETERS:
            raise ApiError(
                400, "invalid_parameter", f"{name[:60]}: unknown; there are {', '.join(_PARAMETERS)}"
            )
        if name in asked:
            raise ApiError(400, "invalid_parameter", f"{name}: given twice, expected once")
        asked[name] = value
    limit = asked.get("limit", "50")
    if not re.fullmatch(r"[1-9][0-9]?|100", limit):
        raise ApiError(400, "invalid_parameter", f"limit: found {limit[:60]}, expected 1 to 100")
    return int(limit), _position(asked["cursor"]) if "cursor" in asked else ("", 0)


def _position(cursor: str) -> Position:
    """Where a cursor leads. It needs no signature: there is nothing but the caller's own to be led to."""
    try:
        found = parse_json(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        found = None
    match found:
        case {"object": str(place), "passed": int(passed)} if is_place(place):
            return place, passed
    raise ApiError(400, "invalid_cursor", "cursor: is not one that this route has given")


def _replay_asked(body: Any) -> tuple[str, int | None]:
    if not isinstance(body, dict) or not {"object"} <= set(body) <= {"object", "line"}:
        raise ApiError(400, "invalid_body", 'the body must be {"object": ..., "line": n}, or without a line')
    place, line = body["object"], body.get("line")
    if not is_place(place):
        raise ApiError(400, "invalid_body", f"object: found {str(place)[:60]!r}, expected {_A_PLACE}")
    if line is not None and (type(line) is not int or line < 1):
        raise ApiError(400, "invalid_body", f"line: found {str(line)[:60]!r}, expected a number from 1")
    return place, line


_TEXT = {"type": "string"}
READING = Operation(
    "GET /v1/rejected",
    get_rejected,
    "listRejected",
    "What was rejected of the application: the newest day first, of a day by object and line.",
    (
        200,
        record(
            rejected={
                "type": "array",
                "items": record(
                    object={**_TEXT, "description": "By which a replay names it."},
                    line={"type": "integer", "minimum": 1},
                    source={**_TEXT, "description": "The file or post that it came in."},
                    eventId=_TEXT,
                    time={"type": "string", "format": "date-time"},
                    reason={**_TEXT, "maxLength": SHOWN},
                    text={**_TEXT, "maxLength": SHOWN},
                    replayable={
                        "type": "boolean",
                        "description": "False for what was refused as a whole (a cut gzip), or is kept in part.",
                    },
                ),
            },
            cursor={"type": ["string", "null"]},
        ),
    ),
    key=("application", "read"),
    parameters=[
        Parameter(
            "limit",
            "1 to 100 records an answer, 50 without it.",
            {"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
        ),
        Parameter("cursor", "Where the answer before ended.", _TEXT),
    ],
    errors={400: ["invalid_parameter", "invalid_cursor"]},
)
REPLAYING = Operation(
    "POST /v1/rejected/replay",
    replay_rejected,
    "replayRejected",
    "Puts lines that were rejected through again. An event that comes of them is stored once, however often. What is "
    "not `replayable` is passed over, and is 409 when there is nothing else.",
    (202, record(accepted={"type": "integer", "minimum": 1, "description": "How many records."})),
    key=("application", "write"),
    body={
        "type": "object",
        "properties": {"object": _TEXT, "line": {"type": ["integer", "null"], "minimum": 1}},
        "required": ["object"],
        "additionalProperties": False,
    },
    errors={400: ["invalid_json", "invalid_body"], 404: ["unknown_object"], 409: ["not_replayable"]},
)
