"""What a request asks for, read off the wire: a target that leads below one API and nowhere else, or a refusal."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import unquote

# API Gateway's own limit for the request line and the headers together, in bytes.
HEAD_BYTES = 10_240

# What may stand in a request's target: visible ASCII, but for a fragment and for what some take for a slash.
_PATH = re.compile(rb"/[!-\"$->@-\[\]-~]*")
_QUERY = re.compile(rb"[!-\"$-\[\]-~]*")
_VALUE = re.compile(rb"[\t -~]*")
_DOTS = re.compile(r"(^|[/\\])\.{1,2}(;[^/\\]*)?([/\\]|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
ACCOUNT = re.compile(r"[0-9]{12}")
REGION = re.compile(r"[a-z]+(-[a-z]+)+-[0-9]")
API_ID = re.compile(r"[a-z0-9]{1,32}")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class BadRequest(Exception):
    """A request that nobody's API gets to see: the HTTP status and what is wrong with it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check(path: bytes, query: bytes, headers: Collection[tuple[bytes, bytes]]) -> None:
    """Raise BadRequest for a request whose path, as sent, could lead elsewhere, or that is no proper HTTP.

    A path is decoded until nothing changes any more: whoever decodes it again further on finds no dot segment either.
    """
    if len(path) + len(query) > HEAD_BYTES:
        raise BadRequest(414, f"the request's target is longer than {HEAD_BYTES} bytes")
    if len(path) + len(query) + sum(len(name) + len(value) for name, value in headers) > HEAD_BYTES:
        raise BadRequest(431, f"the request's line and headers are longer than {HEAD_BYTES} bytes")
    if not _PATH.fullmatch(path) or not _QUERY.fullmatch(query):
        raise BadRequest(400, "the request's target is not a path of visible ASCII characters")
    if {b"content-length", b"transfer-encoding"} <= {name for name, _ in headers}:
        # Whoever reads on might believe the other one, and take the rest of the body for another request.
        raise BadRequest(400, "the request has both a Content-Length and a Transfer-Encoding")
    for name, value in headers:
        if not _VALUE.fullmatch(value):
            raise BadRequest(
                400, f"the header {name.decode('latin-1')} holds more than visible ASCII characters"
            )
    decoded = _decoded(path.decode("ascii"))
    if _DOTS.search(decoded) or _CONTROL.search(decoded) or "\\" in decoded:
        raise BadRequest(400, "the path has a dot segment, a backslash or a control character")


def segment(path: bytes, number: int) -> str:
    """A segment of the path, counted from 1, decoded; empty when there is none."""
    parts = path.decode("latin-1").split("/")
    return unquote(parts[number]) if len(parts) > number else ""


def below(path: bytes, skip: int) -> str:
    """The path as the client sent it (still percent-encoded), without its first `skip` segments."""
    parts = path.decode("latin-1").split("/", skip + 1)
    return "/" + parts[skip + 1] if len(parts) > skip + 1 else "/"


def named(pattern: re.Pattern[str], text: str, what: str) -> str:
    """The text, when the whole of it is such a name; raises BadRequest."""
    if not pattern.fullmatch(text):
        raise BadRequest(400, f"{text!r} is no {what}")
    return text


def _decoded(text: str) -> str:
    while (plain := unquote(text)) != text:
        text = plain
    return text
