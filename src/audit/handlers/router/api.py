"""The router: the public hosts of a product region of several cells. It keeps nothing, and knows what its cell does."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from audit.handlers.common.aws import setting
from audit.handlers.common.digest import healthz
from audit.handlers.common.directory import authenticate, caller_of, directory
from audit.handlers.common.http import ApiError, Reply, Request, serve
from audit.handlers.router.calls import TRIES, Call, ask_first, begin, with_partner
from audit.handlers.router.posts import post_events
from audit.handlers.router.reads import get_events, guests_at

OF_APPLICATIONS = ("/v1/events", "/v1/rejected", "/applications/")  # at the host of events
SAFE = ("GET", "HEAD", "OPTIONS")  # may be asked again, and of another


def handler(event: Mapping[str, Any], _context: object = None) -> dict[str, object]:
    """Answer one request of the HTTP API."""
    begin()
    return serve(event, _ROUTES, pass_on)


def open_session(request: Request) -> Reply:
    """GET /applications/session: of the home of `tenantId`, or of the application's own, or of who takes over."""
    caller = authenticate(request, "application", "write")
    known = directory()
    home = known.places(caller.application, dict(request.query).get("tenantId"))[:1]
    cells = with_partner(known, home[0]) if home else []
    return ask_first(known, cells, Call.of(request, "events")).reply()


def pass_on(request: Request) -> Reply:
    """Any other request, to the home of whose key it has; what is read and not there is looked for where the tenant was
    before. Without a key, what a cell of the region says to anybody.

    What a tenant that has events in several cells is told is one cell's alone: `incomplete` names the others.
    """
    known, caller = directory(), None
    if "authorization" not in request.headers:
        own = setting("CELL")
        host = request.headers.get("x-forwarded-prefix", "").lstrip("/") or request.headers.get("host", "")
        cells = [own, *(cell for cell in known.cells if cell != own)]
        call = Call.of(request, "events" if host.startswith("events.") else "query")
    else:
        caller = caller_of(request)
        cells = list(known.places(caller.application, caller.tenant or _named(request)))
        writes = caller.tenant is None and request.path.startswith(OF_APPLICATIONS)
        call = Call.of(request, "events" if writes else "query")
    safe = request.method in SAFE
    answer = ask_first(known, cells[:1], call, TRIES if safe else 1)
    for cell in cells[1:] if safe else ():
        if answer.status != 404:
            break
        answer = ask_first(known, [cell], call)
    lacking = []
    if caller is not None and caller.tenant is not None and answer.status < 300:
        lacking = sorted({*cells[1:], *chain(*guests_at(known, cells, caller, call))})
    found = answer.json if lacking else None
    if not isinstance(found, dict):
        return answer.reply()
    return Reply(answer.status, {**found, "incomplete": lacking}, answer.reply().headers)


def _named(request: Request) -> str | None:
    """The tenant that an application asks something about, if it names one: of such, a link to its viewer."""
    try:
        body = request.json()
    except ApiError:
        return None
    found = body.get("tenantId") if isinstance(body, dict) else None
    return found if isinstance(found, str) else None


_ROUTES = {
    "POST /v1/events": post_events,
    "GET /v1/events": get_events,
    "GET /applications/session": open_session,
    "GET /healthz": healthz,
}
