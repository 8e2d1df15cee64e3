"""Calls to the cells of the region, by their public addresses alone, and what a process remembers of those who are out.

A cell that failed is not asked for a while, so that its trouble does not cost each request the same wait.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, urlencode

import urllib3

from audit.handlers.common.directory import Directory
from audit.handlers.common.exact import read
from audit.handlers.common.http import ApiError, Reply, Request

Service = Literal["events", "query"]

TRIES = 2  # of one cell, within a request
CONNECT, READ = 1.5, 8.0  # seconds that a try may take: two, and one of the partner, fit into a request's
ALL = 26.0  # seconds in which a request's cells have answered, or there is no answer: the function has little more
REST = 10.0  # seconds that a cell which failed is not asked
RETRY_AFTER = "5"
# What of a request reaches a cell: of what could be a credential the caller's key alone.
PASSED = ("authorization", "content-type", "idempotency-key", "accept")
_OWN = {
    *("connection", "keep-alive", "content-length", "transfer-encoding", "date", "server", "set-cookie"),
    "apigw-requestid",
}

log = logging.getLogger(__name__)
clock = time.monotonic


@dataclass(frozen=True)
class Answer:
    """What a cell answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body; None when that is no JSON."""
        try:
            return read(self.body.decode())
        except ValueError:
            return None

    def reply(self) -> Reply:
        """The same, as the router's own answer."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Reply(self.status, self.body, {n: v for n, v in headers.items() if n not in _OWN})


class Out(Exception):
    """A cell does not answer, or fails: that is its `answer` then."""

    def __init__(self, why: str, answer: Answer | None = None) -> None:
        super().__init__(why)
        self.answer = answer


@dataclass(frozen=True)
class Call:
    """What a cell is asked: the same as it was asked by the caller, or a part of that."""

    service: Service
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes = b""

    @classmethod
    def of(cls, request: Request, service: Service) -> Call:
        """The request as it came, but for what is nobody else's."""
        headers = {name: request.headers[name] for name in PASSED if name in request.headers}
        return cls(service, request.method, request.path, request.query, headers, request.body)


@dataclass
class _Seen:
    """Until when a service of a cell is not asked, and until when the present request's cells may take."""

    out: dict[tuple[str, Service], float] = field(default_factory=dict)
    until: float = 0.0


_seen = _Seen()
_pool = urllib3.PoolManager(maxsize=16)


def begin() -> None:
    """A request is here: its time runs. A function's process has one at a time."""
    _seen.until = clock() + ALL


def patience() -> float:
    """How many seconds the next try may take, of what the request has left."""
    return min(CONNECT + READ, _seen.until - clock())


def send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """One HTTP request, to that address and nowhere else. Raises Out when nobody answers."""
    timeout = urllib3.Timeout(connect=CONNECT, read=READ, total=patience())
    try:
        answer = _pool.request(
            method, url, headers=headers, body=body or None, timeout=timeout, retries=False, redirect=False
        )
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Out(str(error)) from None
    return Answer(answer.status, dict(answer.headers), answer.data)


sender: Callable[[str, str, Mapping[str, str], bytes], Answer] = send


def address(known: Directory, cell: str, service: Service) -> str:
    """Where a cell of the region is, as anybody finds it."""
    host = f"{service}.{cell}.{known.endpoint}"
    edge = os.environ.get("EDGE_URL")  # in the sandbox, which has no names
    return f"{edge}/{host}" if edge else f"https://{host}"


def ask(known: Directory, cell: str, call: Call, tries: int = TRIES) -> Answer:
    """What the cell answers; Out when it does not, or fails as often as it is tried."""
    place = (cell, call.service)
    if clock() < _seen.out.get(place, 0.0):
        raise Out(f"{cell} failed a moment ago")
    if cell not in known.cells:
        raise Out(f"{cell} is no cell of this region")
    url = address(known, cell, call.service) + quote(call.path, safe="/")
    if call.query:
        url += "?" + urlencode(call.query)
    return _tried(url, call, place, tries)


def _tried(url: str, call: Call, place: tuple[str, Service], tries: int) -> Answer:
    found = None
    for _ in range(tries):
        if clock() + CONNECT > _seen.until:
            break
        try:
            answer = sender(call.method, url, call.headers, call.body)
        except Out as error:
            found = error
            continue
        if answer.status not in (502, 503, 504):
            _seen.out.pop(place, None)
            if answer.status < 500:
                return answer
        found = Out(f"answers {answer.status}", answer)
    if found is None:
        raise Out(f"no time is left to ask {place[0]}")
    log.warning("%s of %s: %s", call.service, place[0], found)
    # What fails at one request may answer others.
    if found.answer is None or found.answer.status in (502, 503, 504):
        _seen.out[place] = clock() + REST
    raise found


def ask_first(known: Directory, cells: Sequence[str], call: Call, tries: int = TRIES) -> Answer:
    """What the first of the cells answers that is not out, or how the last one fails; ApiError 503 for no answer."""
    failed = None
    for cell in cells:
        try:
            return ask(known, cell, call, tries)
        except Out as error:
            failed = error.answer or failed
    if failed is None:
        raise unavailable(cells)
    return failed


def unavailable(cells: Sequence[str], how: str = "") -> ApiError:
    """That none of these cells answers, and `how` the request may be sent again."""
    return ApiError(
        503,
        "home_unavailable",
        f"{' and '.join(cells) or 'the home'} can't be reached; the same request may be sent again{how}",
        headers={"retry-after": RETRY_AFTER},
    )


def with_partner(known: Directory, cell: str) -> list[str]:
    """The cell, and who takes new events while it is out: its failover partner, of the same region and so residency."""
    partner = known.partner(cell)
    return [cell, partner] if partner else [cell]


def forget() -> None:
    """Remember nothing."""
    _seen.out.clear()
