"""An event as the Open Cybersecurity Schema Framework has it: API Activity (class 6003) of OCSF 1.9.0. Pure.

What the class has no place for is in `unmapped`, and `raw_data` is the event as it is archived, so nothing is lost.
An event that has an entry in its tenant's log has the profile `record_integrity`: the attestation's fingerprint is the
entry's commitment, and its signatures are those of the log's checkpoint (docs/decisions/0099).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from audit.handlers.common.events import microseconds
from audit.handlers.common.exact import write

VERSION = "1.9.0"
CATEGORY, CLASS = 6, 6003
INFORMATIONAL, OTHER = 1, 99
SHA256 = {"algorithm_id": 3, "algorithm": "SHA-256", "encoding_id": 1, "encoding": "Hex"}
COMMITTED = "the salt, then raw_data"  # what the fingerprint is over
_COSIGNATURE_BYTES = 4 + 8 + 64  # a key's id, a time, an Ed25519 signature
_DASH = "\N{EM DASH} "

Json = dict[str, Any]

ACTIVITIES = {1: "Create", 2: "Read", 3: "Update", 4: "Delete"}
# What verbs of a kind begin with; an end as of `creat-e`, `creat-ed` or `creat-ing` follows. No plural: `posts` are
# made by nobody.
_VERBS = {
    1: "add|creat|generat|import|insert|invit|issu|mak|made|new|post|register|upload",
    2: "access|describ|download|export|fetch|find|found|gett?|got|head|list|open|quer[yi]|read|retriev|search|show|"
    "view",
    3: "chang|disabl|edit|enabl|modif[yi]|mov|patch|putt?|renam|replac|resett?|restor|rotat|sett?|updat|writ|written|"
    "wrote",
    4: "delet|destroy|dropp?|eras|purg|remov|revok",
}
# What of an event has a place of the class's own: whole, and in part.
_WHOLE = ("eventId", "tenantId", "eventTime", "eventName", "tags")
_PARTS = {"actor": ("id",), "context": ("sourceIpAddress", "userAgent")}
_FORMS = {kind: re.compile(f"(?:{verbs})(?:e?d?|ing)") for kind, verbs in _VERBS.items()}
_SEGMENTS = re.compile(r"[.:/]+")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True)
class Logged:
    """Where an event is in its tenant's log, and what shows it: the entry's salt, the log's public key (C2SP
    signed-note) and a checkpoint (a signed note) that is of more entries than `index`."""

    index: int
    salt: bytes
    key: str
    checkpoint: str


def activity(application: str, event: Mapping[str, Any], logged: Logged | None = None) -> Json:
    """A stored event (one with its `eventId`) as API Activity; `logged` is None for one that has no entry yet."""
    kind = _kind(event["eventName"])
    name = ACTIVITIES.get(kind, event["eventName"])
    raw = write(event)
    context = event.get("context") or {}
    resources = event.get("resources") or []
    return {
        "class_uid": CLASS,
        "class_name": "API Activity",
        "category_uid": CATEGORY,
        "category_name": "Application Activity",
        "activity_id": kind,
        "activity_name": name,
        "type_uid": CLASS * 100 + kind,
        "type_name": f"API Activity: {ACTIVITIES.get(kind, 'Other')}",
        "severity_id": INFORMATIONAL,
        "severity": "Informational",
        "time": microseconds(event["eventTime"]) // 1000,
        "metadata": _metadata(application, event, logged),
        "actor": _actor(application, event.get("actor") or {}),
        "api": {"operation": event["eventName"], "service": {"name": application}},
        "src_endpoint": _source(application, context.get("sourceIpAddress") or ""),
        **({"http_request": {"user_agent": context["userAgent"]}} if context.get("userAgent") else {}),
        **({"resources": [_resource(one) for one in resources]} if resources else {}),
        **(_integrity(raw, logged) if logged else {}),
        "unmapped": dict(_unmapped(event)),
        "raw_data": raw,
    }


def _metadata(application: str, event: Mapping[str, Any], logged: Logged | None) -> Json:
    tags = [{"name": name, "value": value} for name, value in (event.get("tags") or {}).items()]
    return {
        "version": VERSION,
        "product": {"name": application},
        "uid": event["eventId"],
        "tenant_uid": event["tenantId"],
        "event_code": event["eventName"],
        "original_time": event["eventTime"],
        **({"profiles": ["record_integrity"]} if logged else {}),
        **({"tags": tags} if tags else {}),
    }


def _actor(application: str, actor: Mapping[str, Any]) -> Json:
    """Of an event that names nobody, what is known is the application that told of it."""
    return {"user": {"uid": actor["id"]}} if actor else {"application": {"uid": application}}


def _source(application: str, address: str) -> Json:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return {"name": address} if address else {"svc_name": application}
    # The schema's address has no more than 40 characters; one with a zone may have.
    return {"name": address} if getattr(found, "scope_id", None) else {"ip": str(found)}


def _resource(resource: Mapping[str, Any]) -> Json:
    return {"uid": resource["id"], **({"data": resource["details"]} if resource.get("details") else {})}


def _unmapped(event: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What has no place of its own, under the event's own names."""
    for name, value in event.items():
        if name in _PARTS:
            if rest := {key: found for key, found in (value or {}).items() if key not in _PARTS[name]}:
                yield name, rest
        elif name == "resources":
            if any({*one} - {"id", "details"} for one in value or ()):
                yield name, value
        elif name not in _WHOLE:
            yield name, value


def _kind(name: str) -> int:
    """What an action's name says that it does: OCSF's activity_id.

    Of its segments (`iam:CreateUser`, `user.created`) the last that has a verb; of a segment's words the first, the
    last, then any.
    """
    for segment in reversed(_SEGMENTS.split(name)):
        words = [word.lower() for word in _WORDS.findall(segment)]
        for word in (*words[:1], *words[-1:], *words):
            for kind, form in _FORMS.items():
                if form.fullmatch(word):
                    return kind
    return OTHER


def _integrity(raw: str, logged: Logged) -> Json:
    text, _, below = logged.checkpoint.partition("\n\n")
    root = base64.b64decode(text.split("\n")[2]).hex()
    chain = logged.key.partition("+")[0]
    commitment = hashlib.sha256(logged.salt + raw.encode()).hexdigest()
    attestation = {
        "uid": str(logged.index),
        "chain_uid": chain,
        "authority_uid": logged.key,
        "fingerprint": {**SHA256, "serialization_id": OTHER, "serialization": COMMITTED, "value": commitment},
        "signatures": [_signature(line, root) for line in below.splitlines()],
    }
    shown = {"salt": base64.b64encode(logged.salt).decode(), "checkpoint": logged.checkpoint}
    enrichment = {"name": "attestation_list.uid", "value": str(logged.index), "type": "log", "data": shown}
    return {"attestation_list": [attestation], "enrichments": [enrichment]}


def _signature(line: str, root: str) -> Json:
    """A line of a checkpoint's signatures: the log's own, or a witness's, which says when it was made."""
    try:
        content = base64.b64decode(line.removeprefix(_DASH).rpartition(" ")[2], validate=True)
    except binascii.Error:
        content = b""
    cosigned = len(content) == _COSIGNATURE_BYTES
    return {
        "algorithm_id": OTHER,
        "algorithm": "Ed25519",
        "serialization_id": OTHER,
        "serialization": f"C2SP tlog-{'cosignature' if cosigned else 'checkpoint'}",
        "digest": {**SHA256, "value": root},
        **({"created_time": int.from_bytes(content[4:12], "big") * 1000} if cosigned else {}),
    }
