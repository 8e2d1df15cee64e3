"""An API described where its routes are: of one description, what answers a request and the OpenAPI document of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from audit.handlers.common.digest import healthz
from audit.handlers.common.directory import Kind, Scope
from audit.handlers.common.event_schema import SCHEMAS
from audit.handlers.common.http import Reply, Request, Route, Routes

Schema = Mapping[str, Any]

DOCUMENT = "/v1/openapi.json"
JSON, HTML = "application/json", "text/html"
ERROR = "Error"
# What a key of any kind may be told, and what anybody may be.
_WITH_A_KEY: Mapping[int, tuple[str, ...]] = {
    401: ("unauthorized", "expired"),
    403: ("wrong_key", "missing_scope"),
}
_ANYWAY: Mapping[int, tuple[str, ...]] = {500: ("internal",)}
_WHEN_REFUSED = {
    429: {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}}
}


@dataclass(frozen=True)
class Parameter:
    """Something that a request may say beside its body; `place` is query, header or path."""

    name: str
    description: str
    schema: Schema
    place: str = "query"


@dataclass(frozen=True)
class Operation:
    """What "<METHOD> <path>" does. `key` is the kind of key that it wants, and the scope (None: it wants none);
    `returns` the status and the schema of a good answer, `media` its type, `takes` that of the body; `errors` the codes
    of refusals by status but those of keys. Refusals are JSON, or pages of what answers pages."""

    route: str
    answer: Route
    name: str
    summary: str
    returns: tuple[int, Schema]
    key: tuple[Kind, Scope] | None
    parameters: Sequence[Parameter] = ()
    body: Schema | None = None
    errors: Mapping[int, Sequence[str]] = field(default_factory=dict)
    media: str = JSON
    takes: str = JSON

    def codes(self) -> dict[int, list[str]]:
        """Every code of a refusal, by status."""
        found: dict[int, list[str]] = {}
        for codes in (_WITH_A_KEY if self.key else {}, self.errors, _ANYWAY):
            for status, names in codes.items():
                found.setdefault(status, []).extend(names)
        return dict(sorted(found.items()))


def reference(name: str) -> Schema:
    """One of the document's own schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(*, may_have: Mapping[str, Schema] | None = None, **properties: Schema) -> Schema:
    """An object of these properties, all of which it has, and of those that it `may_have`."""
    return {"type": "object", "properties": {**properties, **(may_have or {})}, "required": list(properties)}


def routes(title: str, operations: Sequence[Operation]) -> Routes:
    """What answers the operations' requests, those for the service's health, and those for its document."""
    health = Operation(
        "GET /healthz",
        healthz,
        "health",
        "Which code runs.",
        (200, record(service=_TEXT, digest=_TEXT)),
        None,
    )
    every: list[Operation] = [*operations, health]
    published = Operation(
        f"GET {DOCUMENT}",
        partial(_publish, title, every),
        "document",
        "This document.",
        (200, _ANY_OBJECT),
        None,
    )
    every.append(published)
    return {operation.route: operation.answer for operation in every}


def _publish(title: str, operations: Sequence[Operation], _: Request) -> Reply:
    return Reply(200, document(title, operations), {"cache-control": "public, max-age=300"})


def document(title: str, operations: Sequence[Operation]) -> dict[str, Any]:
    """OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        method, path = operation.route.split(" ")
        paths.setdefault(path, {})[method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": "1",
            "description": "Keys are sent as `Authorization: Bearer KEY`. A path that is not here is answered 404, "
            "`not_found`, and another method 405, `method_not_allowed`, with `Allow`.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**SCHEMAS, ERROR: _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    status, schema = operation.returns
    refusals = {
        str(code): _refusal(code, names, operation.media) for code, names in operation.codes().items()
    }
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "security": [{"key": []}] if operation.key else [],
        "responses": {
            str(status): {"description": "done", "content": {operation.media: {"schema": schema}}},
            **refusals,
        },
    }
    if operation.key:
        kind, scope = operation.key
        found["description"] = f"With a key of kind {kind}, of scope {scope}."
    if operation.parameters:
        found["parameters"] = [
            {
                "name": one.name,
                "in": one.place,
                "required": one.place == "path",
                "description": one.description,
                "schema": one.schema,
            }
            for one in operation.parameters
        ]
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": {operation.takes: {"schema": operation.body}}}
    return found


def _refusal(status: int, codes: Sequence[str], media: str) -> dict[str, Any]:
    code = {"properties": {"error": {"properties": {"code": {"enum": list(codes)}}}}}
    found: dict[str, Any] = {
        "description": ", ".join(codes),
        "content": {HTML: {"schema": _TEXT}}
        if media == HTML
        else {JSON: {"schema": {"allOf": [reference(ERROR), code]}}},
    }
    if status in _WHEN_REFUSED:
        found["headers"] = _WHEN_REFUSED[status]
    return found


_ANY_OBJECT: Schema = {"type": "object"}
_TEXT: Schema = {"type": "string"}
_ERROR: Schema = record(
    error={
        "type": "object",
        "properties": {"code": _TEXT, "message": _TEXT, "details": {"type": "array"}},
        "required": ["code", "message"],
    }
)
