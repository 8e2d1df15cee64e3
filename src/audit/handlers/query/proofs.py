"""A tenant sees for itself that nothing of its own was changed: its log's checkpoint, and proofs."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from audit.handlers.common.aws import setting
from audit.handlers.common.directory import Caller, authenticate, directory
from audit.handlers.common.http import ApiError, Reply, Request
from audit.handlers.common.operations import Operation, Parameter, Schema, record
from audit.handlers.common.retention import readable
from audit.handlers.log.append import CHECKPOINT, checkpoint_in, unbundled
from audit.handlers.log.keys import key_of
from audit.handlers.log.store import COSIGNED, Missing, Store, origin_of
from audit.handlers.log.tree import WIDTH, consistency, inclusion, tile_path
from audit.handlers.query.limits import admit

TRIES = 3  # the log may grow while it is read, and tiles that are not full are replaced by wider ones
clock = time.time
_NO_LOG = "nothing of this tenant is in its log yet"


def get_checkpoint(request: Request) -> Reply:
    """GET /v1/checkpoint: how many entries the log has, and their root, signed."""
    caller = _caller(request)
    store, note = _log(caller)
    origin = origin_of(setting("LOG_ORIGIN"), caller.application, caller.tenant or "")
    cosigned = store.read(COSIGNED)
    return Reply(
        200,
        {
            "checkpoint": note,
            "key": str(key_of(origin)),
            "cosigned": None if cosigned is None else cosigned.decode(),
        },
    )


def get_proof(request: Request) -> Reply:
    """GET /v1/proof: an event's entry, and the proof that it is in the log."""
    caller = _caller(request)
    event = _asked(request, "eventId", "[0-9a-f]{32}", "an event's id")

    def prove(store: Store, note: str) -> dict[str, object]:
        size = checkpoint_in(note).size
        place = store.places([event]).get(event)
        held = directory().terms(caller.application, caller.tenant or "").held
        # The salt is of no use without the event, and a guess at the event would be one with it.
        if place is None or place.index >= size or not readable(place.end, clock(), held):
            raise ApiError(
                404, "not_logged", f"eventId: {event} is in no checkpoint of this tenant, not yet, or no more"
            )
        first, at = divmod(place.index, WIDTH)
        bundle = store.tile(tile_path("entries", first, min(WIDTH, size - first * WIDTH)), first)
        proof = inclusion(place.index, size, store.hashes(size))
        return {
            "eventId": event,
            "index": place.index,
            "entry": unbundled(bundle)[at].decode(),
            "salt": _text(place.salt),
            "proof": [_text(one) for one in proof],
        }

    return _proven(caller, prove)


def get_consistency(request: Request) -> Reply:
    """GET /v1/consistency: the proof that the log begins with what it was."""
    caller = _caller(request)
    old = int(_asked(request, "from", "0|[1-9][0-9]{0,14}", "how many entries the log had"))

    def prove(store: Store, note: str) -> dict[str, object]:
        size = checkpoint_in(note).size
        if old > size:
            raise ApiError(
                400, "invalid_parameter", f"from: found {old}, expected 0 to {size}, which it has now"
            )
        return {"from": old, "proof": [_text(one) for one in consistency(old, size, store.hashes(size))]}

    return _proven(caller, prove)


def _caller(request: Request) -> Caller:
    caller = authenticate(request, "tenant", "read")
    admit(caller)
    return caller


def _proven(caller: Caller, prove: Callable[[Store, str], Mapping[str, object]]) -> Reply:
    for left in reversed(range(TRIES)):
        store, note = _log(caller)
        try:
            return Reply(200, {**prove(store, note), "checkpoint": note})
        except Missing:
            if not left:
                raise
    raise AssertionError("the last try answers or raises")


def _log(caller: Caller) -> tuple[Store, str]:
    store = Store.here(caller.application, caller.tenant or "")
    note = store.read(CHECKPOINT)
    if note is None:
        raise ApiError(404, "not_logged", _NO_LOG)
    return store, note.decode()


def _asked(request: Request, name: str, pattern: str, what: str) -> str:
    values = [value for key, value in request.query if key == name]
    others = sorted({key for key, _ in request.query if key != name and not key.startswith("X-Amz-")})
    if others:
        raise ApiError(400, "invalid_parameter", f"{others[0][:60]}: unknown; there is {name}")
    if len(values) != 1 or not re.fullmatch(pattern, values[0]):
        found = f"found {values[0][:60]!r}" if values else "is missing"
        raise ApiError(400, "invalid_parameter", f"{name}: {found}, expected {what}, once")
    return values[0]


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


_BASE64: Schema = {"type": "string", "contentEncoding": "base64"}
_PROOF: Schema = {"type": "array", "items": _BASE64}
_NOTE: Schema = {"type": "string", "description": "A signed note (C2SP tlog-checkpoint)."}


def _operation(
    path: str,
    answer: Callable[[Request], Reply],
    name: str,
    summary: str,
    *,
    returns: Mapping[str, Any],
    parameters: Sequence[Parameter] = (),
) -> Operation:
    return Operation(
        f"GET {path}",
        answer,
        name,
        summary,
        (200, record(**returns)),
        key=("tenant", "read"),
        parameters=parameters,
        errors={
            **({400: ["invalid_parameter"]} if parameters else {}),
            404: ["not_logged"],
            429: ["too_many_requests"],
        },
    )


OPERATIONS = (
    _operation(
        "/v1/checkpoint",
        get_checkpoint,
        "checkpoint",
        "What the tenant's log is now. Keep one: what is done to the log afterwards is found by it.",
        returns={
            "checkpoint": _NOTE,
            "key": {"type": "string", "description": "The log's public key (C2SP signed-note)."},
            "cosigned": {
                "type": ["string", "null"],
                "description": "The newest checkpoint that enough witnesses have signed too (C2SP tlog-cosignature).",
            },
        },
    ),
    _operation(
        "/v1/proof",
        get_proof,
        "proveEvent",
        "An event's entry in the log, and the proof (RFC 6962, 2.1.1) that it is in the checkpoint beside it: the "
        "event's id, when it was logged, and base64 of SHA-256 over the salt and the event's line.",
        returns={
            "eventId": {"type": "string"},
            "index": {"type": "integer", "minimum": 0},
            "entry": {"type": "string"},
            "salt": _BASE64,
            "proof": _PROOF,
            "checkpoint": _NOTE,
        },
        parameters=[Parameter("eventId", "The event's id.", {"type": "string", "pattern": "^[0-9a-f]{32}$"})],
    ),
    _operation(
        "/v1/consistency",
        get_consistency,
        "proveConsistency",
        "The proof (RFC 6962, 2.1.2) that the checkpoint beside it begins with all of an older one.",
        returns={"from": {"type": "integer", "minimum": 0}, "proof": _PROOF, "checkpoint": _NOTE},
        parameters=[
            Parameter("from", "How many entries the older one has.", {"type": "integer", "minimum": 0})
        ],
    ),
)
