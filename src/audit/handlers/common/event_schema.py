"""What `events` takes as an event, as JSON Schema: all of it but an event's size and the days that a month has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

EVENT, STORED, ACTIVITY = "Event", "StoredEvent", "OcsfApiActivity"


def _text(limit: int) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": limit}


def _may_be_empty(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"enum": [None, "", {}, []]}]}


_OBJECT: Schema = {"type": "object"}
_NAMED: Schema = {
    "type": "object",
    "properties": {"id": _text(256), "details": _may_be_empty(_OBJECT)},
    "required": ["id"],
}
_CONTEXT: Schema = {
    "type": "object",
    "properties": {"sourceIpAddress": _may_be_empty(_text(64)), "userAgent": _may_be_empty(_text(1024))},
}
_FIELDS: Mapping[str, Schema] = {
    "tenantId": {
        "type": "string",
        "pattern": "^([A-Za-z0-9_+=-]{1,128}|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$",
        "description": "One of the application's own tenants.",
    },
    "eventTime": {
        "type": "string",
        "format": "date-time",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-6][0-9](\\.[0-9]+)?"
        "([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
        "examples": ["2025-01-31T12:00:00Z"],
    },
    "eventName": _text(256),
    "actor": _may_be_empty(_NAMED),
    "resources": _may_be_empty({"type": "array", "items": _NAMED, "maxItems": 100}),
    "context": _may_be_empty(_CONTEXT),
    "eventDetails": _may_be_empty(_OBJECT),
    "tags": _may_be_empty({"type": "object", "additionalProperties": {"type": "string"}}),
}
_REQUIRED = ["tenantId", "eventTime", "eventName"]

SCHEMAS: Mapping[str, Schema] = {
    EVENT: {
        "type": "object",
        "description": "An event as it is sent, of at most 32,768 bytes as JSON. Other fields are kept as they are.",
        "properties": {"eventId": False, "serviceEvent": False, "eventSchemaVersion": False, **_FIELDS},
        "required": _REQUIRED,
    },
    STORED: {
        "type": "object",
        "description": "An event as it was accepted, and the id that the service gave it.",
        "properties": {
            "eventId": {"type": "string"},
            "serviceEvent": {
                "const": True,
                "description": "There where the service itself has written it: what was done to what is the tenant's. "
                "`actor.type` is tenant-key, vendor-staff or service.",
            },
            "eventSchemaVersion": {
                "type": "integer",
                "minimum": 1,
                "description": "There where the application has a schema of the action: the version that was in force "
                "when the event was taken in, and that it fits.",
            },
            **_FIELDS,
        },
        "required": ["eventId", *_REQUIRED],
    },
    ACTIVITY: {
        "type": "object",
        "description": "An event as OCSF 1.9.0 has it: class 6003, profile record_integrity where its log has it.",
        "properties": {"class_uid": {"const": 6003}},
        "required": ["class_uid", "type_uid", "time", "metadata", "raw_data"],
    },
}
