"""The APIs' own documents, and whether what a handler answers is what its document says."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from audit.handlers.common.operations import JSON
from audit.handlers.ingest import session
from audit.handlers.query import api

DOCUMENT = "/v1/openapi.json"
APIS = {inspect.unwrap(module.handler): name for name, module in (("ingest", session), ("query", api))}


@cache
def document(service: str) -> dict[str, Any]:
    """The document that a service publishes, asked for without a key."""
    (handler,) = (handler for handler, name in APIS.items() if name == service)
    http = {"method": "GET"}
    answer: Any = handler({"rawPath": DOCUMENT, "headers": {}, "requestContext": {"http": http}})
    assert answer["statusCode"] == 200
    found: dict[str, Any] = json.loads(answer["body"])
    return found


def validator(service: str, *place: str) -> Draft202012Validator:
    """What judges by a schema of a service's document."""
    pointer = "/".join(part.replace("~", "~0").replace("/", "~1") for part in place)
    # ECMA's `$` is the very end of a text, and Python's is not.
    whole = json.dumps(document(service)).replace('$"', '\\\\Z"')
    return Draft202012Validator({**json.loads(whole), "$ref": f"#/{pointer}"})


@cache
def _of_answer(service: str, path: str, method: str, status: str) -> Draft202012Validator:
    content = ("responses", status, "content", "application/json", "schema")
    return validator(service, "paths", path, method, *content)


def operation(service: str, route: str) -> tuple[str, str, Mapping[str, Any]] | None:
    """Path, method and description of what answers "<METHOD> <path>"; None when the document has no such."""
    method, _, path = route.partition(" ")
    for known, methods in document(service)["paths"].items():
        parts, asked = known.split("/"), path.split("/")
        alike = (
            part == one or (part.startswith("{") and one) for part, one in zip(parts, asked, strict=False)
        )
        if len(parts) == len(asked) and all(alike) and method.lower() in methods:
            return known, method.lower(), methods[method.lower()]
    return None


def conforms(handler: Callable[..., Any], route: str, status: int, body: object) -> None:
    """AssertionError where an answer is none that the handler's document has of the route."""
    service = APIS.get(inspect.unwrap(handler))
    found = operation(service, route) if service else None
    if service is None or found is None:
        return
    path, method, described = found
    assert str(status) in described["responses"], (
        f"{route} is answered {status} {body}, and its document has no such"
    )
    if JSON not in described["responses"][str(status)].get("content", {}):
        assert isinstance(body, str)
        return
    problems = [error.message for error in _of_answer(service, path, method, str(status)).iter_errors(body)]
    assert not problems, f"{route} is answered {status} otherwise than its document says: {problems}"
