"""The little of HTTP that a handler behind an HTTP API (payload format 2.0) needs."""

from __future__ import annotations

import base64
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from audit.handlers.common.exact import read, write

MAX_DEPTH = 64  # lists and objects in one another

log = logging.getLogger(__name__)


class ApiError(Exception):
    """A refusal the caller can act on: an HTTP status, a code for programs and a message for people."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Sequence[object] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = list(details)
        self.headers = headers or {}


@dataclass(frozen=True)
class Request:
    """A request. `headers` have lower-case names; `query` keeps the client's order and repetitions."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Request:
        """The request in an HTTP API's event."""
        headers = {name.lower(): value for name, value in event.get("headers", {}).items()}
        text = event.get("body") or ""
        return cls(
            method=event["requestContext"]["http"]["method"],
            path=event["rawPath"],
            headers=headers,
            query=tuple(parse_qsl(event.get("rawQueryString", ""), keep_blank_values=True)),
            body=base64.b64decode(text) if event.get("isBase64Encoded") else _sent(text, headers),
        )

    def json(self) -> Any:
        """The body's JSON; raises ApiError 400 when it is none."""
        try:
            return parse_json(self.body)
        except ValueError as error:
            raise ApiError(400, "invalid_json", f"the body is no JSON: {error}") from None


class Text(str):
    """A body that is sent as it is, and not as JSON."""

    __slots__ = ()


@dataclass(frozen=True)
class Reply:
    """An answer: a status; a JSON-able body, a Text, or the bytes of any; and headers beside (or instead of) those of
    every answer."""

    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)


Route = Callable[[Request], Reply]
Routes = Mapping[str, Route]

# Whatever a browser is shown of an answer, it is data.
_HEADERS = {
    "content-type": "application/json",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


def _sent(text: str, headers: Mapping[str, str]) -> bytes:
    """A body's bytes as they were sent; raises ApiError 400 when those were no UTF-8.

    The API hands on U+FFFD in the place of what was none: three bytes, mostly for fewer.
    """
    body = text.encode(errors="surrogatepass")
    if "\ufffd" in text and headers.get("content-length", str(len(body))) != str(len(body)):
        raise ApiError(400, "invalid_json", "the body is no UTF-8")
    return body


def parse_json(text: bytes) -> Any:
    """JSON that can be written again as RFC 8259 has it (UTF-8, no NaN, each name once, sanely nested).

    A byte order mark before it is skipped; numbers keep their digits. Raises ValueError, whose text says why.
    """
    with suppress(RecursionError):
        value = read(text.decode("utf-8-sig"), parse_constant=_no_constant, object_pairs_hook=_named_once)
        if not _deep(value):
            return value
    raise ValueError(f"nested more than {MAX_DEPTH} deep")


def _deep(value: Any) -> bool:
    """Whether a value is nested deeper than may be written again without running out of stack."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return True


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Python would keep the last value of a name, and others the first."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise ValueError(f"{names.most_common(1)[0][0][:60]!r} is given twice in an object")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def serve(event: Mapping[str, Any], routes: Routes, otherwise: Route | None = None) -> dict[str, object]:
    """Answer an HTTP API's event by the route of its "<METHOD> <path>"; by `otherwise` where that is in no route."""
    name = "a request"
    try:
        request = Request.of(event)
        if otherwise is not None and f"{request.method} {request.path}" not in routes:
            reply = otherwise(request)
        else:
            name = _route(request, routes)
            reply = routes[name](request)
    except ApiError as error:
        reply = _refusal(error)
    except Exception:  # the last place that can say anything to the caller
        # By the route, since a path may hold what opens something.
        log.exception("%s failed", name)
        reply = _refusal(ApiError(500, "internal", "the service failed; the request may be tried again"))
    return {"statusCode": reply.status, "headers": {**_HEADERS, **reply.headers}, **_content(reply.body)}


def _content(body: object) -> dict[str, object]:
    """A body as Lambda gives it to the API: text as it is, and bytes that are none in base64."""
    if isinstance(body, Text):
        return {"body": str(body)}
    if not isinstance(body, bytes):
        return {"body": write(body)}
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def _route(request: Request, routes: Routes) -> str:
    """The name of the route that a request takes; raises ApiError 404 or 405."""
    here = {
        method: name
        for name, (method, path) in ((name, name.split(" ")) for name in routes)
        if _leads_to(path, request.path)
    }
    if request.method in here:
        return here[request.method]
    if here:
        allowed = ", ".join(here)
        raise ApiError(
            405, "method_not_allowed", f"{request.path} answers {allowed} only", headers={"allow": allowed}
        )
    raise ApiError(404, "not_found", f"there is no {request.path}; there are {', '.join(routes)}")


def _leads_to(path: str, asked: str) -> bool:
    """Whether a route's path is the one that is asked for; a part in braces stands for any."""
    parts, found = path.split("/"), asked.split("/")
    return len(parts) == len(found) and all(
        part == one or (part.startswith("{") and one != "") for part, one in zip(parts, found, strict=True)
    )


def _refusal(error: ApiError) -> Reply:
    body: dict[str, object] = {"code": error.code, "message": error.message}
    if error.details:
        body["details"] = error.details
    return Reply(error.status, {"error": body}, error.headers)
