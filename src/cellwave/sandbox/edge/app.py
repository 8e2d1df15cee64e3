"""The reverse proxy itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
from botocore.exceptions import BotoCoreError, ClientError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cellwave.fleet.homing import home_cell, identity_of
from cellwave.fleet.model import Cell, Fleet, Service
from cellwave.sandbox.edge import envelope, postpolicy, target
from cellwave.sandbox.edge.apis import Apis
from cellwave.sandbox.edge.metrics import Api, Meter

# API Gateway's own limit for an integration.
ANSWER_WITHIN_S = 30.0
# And for a request's body; a form's whole body may not be larger than S3's largest object of one request.
API_BODY_BYTES = 10 * 1024**2
FORM_BODY_BYTES = 5 * 1024**3
# The emulator starts a process for every call that comes while others run, without end, and a start costs a
# machine's core half a second: more calls to one API wait here.
CALLS_AT_ONCE = max(2, os.cpu_count() or 1)
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
    *("transfer-encoding", "upgrade", "expect", "content-length"),
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Upstream:
    """The emulator: its URL, and the secret access key of every account."""

    url: str
    secret: str


class Edge:
    """Finds the API behind a request, passes it on and counts the answer."""

    def __init__(self, fleet: Fleet, upstream: Upstream, client: httpx.AsyncClient) -> None:
        self._upstream = upstream
        self._client = client
        self._hosts = product_hosts(fleet)
        self._fronts = {service.name for service in fleet.services if service.fronts}
        self._turn = 0
        self._homing = fleet.homing
        self._apis = Apis(upstream.secret)
        self._slots: defaultdict[Api, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(CALLS_AT_ONCE)
        )
        self.meter = Meter(upstream.secret)

    async def health(self, request: Request) -> Response:
        """Answer that the edge is there."""
        return JSONResponse({"status": "ok"})

    async def api(self, request: Request) -> Response:
        """`/_api/{account}/{region}/{api}/…`: an HTTP API's own endpoint."""
        path = request.scope["raw_path"]
        api = Api(
            account=target.named(target.ACCOUNT, target.segment(path, 2), "account"),
            region=target.named(target.REGION, target.segment(path, 3), "AWS region"),
            id=target.named(target.API_ID, target.segment(path, 4), "API's id"),
        )
        return await self._call(api, request, skip=4, prefix=f"/_api/{api.account}/{api.region}/{api.id}")

    async def product(self, request: Request) -> Response:
        """A product host, named by the Host header or the first segment of the path."""
        host = request.headers.get("host", "").rsplit(":", 1)[0].lower()
        skip = 0
        if host not in self._hosts:
            host, skip = target.segment(request.scope["raw_path"], 1).lower(), 1
        if host not in self._hosts:
            message = "no such host here: name one in the Host header or as the first segment of the path"
            return JSONResponse({"message": message, "hosts": sorted(self._hosts)}, status_code=404)
        cells, service = self._hosts[host]
        if len(cells) > 1 and service.name not in self._fronts:
            cells = (home_cell(identity_of(request.headers, self._homing), cells),)
        # As names are resolved to any of the addresses that are there.
        self._turn += 1
        for cell in (*cells[self._turn % len(cells) :], *cells[: self._turn % len(cells)]):
            try:
                api_id = await self._apis.find(cell, f"{cell.name}-{service.name}")
            except (BotoCoreError, ClientError) as error:
                return _unavailable(f"the APIs of cell {cell.name} can't be listed: {error}")
            if api_id is not None:
                api = Api(account=cell.account, region=cell.aws_region, id=api_id)
                response = await self._call(api, request, skip=skip, prefix=f"/{host}" if skip else "")
                response.headers["x-cellwave-cell"] = cell.name
                return response
        names = " and ".join(cell.name for cell in cells)
        message = f"{names}: there is no API of the service {service.name} yet"
        return JSONResponse({"message": message}, status_code=404)

    async def upload(self, request: Request) -> Response:
        """`/_upload/{bucket}`: a browser-style POST to S3, its policy's signature checked first."""
        bucket = target.named(target.BUCKET, target.segment(request.scope["raw_path"], 2), "bucket")
        content_type = request.headers.get("content-type", "")
        try:
            body = await body_of(request, FORM_BODY_BYTES)
            if body is None:
                raise postpolicy.too_large()
            postpolicy.verify(postpolicy.form_fields(content_type, body), self._upstream.secret)
        except postpolicy.Refused as refused:
            log.warning("upload to %s refused: %s", bucket, refused.code)
            return Response(refused.xml, status_code=refused.status, media_type="application/xml")
        # The emulator finds the signer in the form itself, and asks the bucket's owner.
        url = httpx.URL(f"{self._upstream.url}/{bucket}")
        return await self._send("POST", url, {"content-type": content_type}, body)

    async def _call(self, api: Api, request: Request, *, skip: int, prefix: str = "") -> Response:
        """Invoke an API, and count the answer; whatever the emulator says passes through. Its client's paths begin with
        `prefix`."""
        url = invocation(
            self._upstream.url,
            api,
            target.below(request.scope["raw_path"], skip),
            request.scope["query_string"],
        )
        body = await body_of(request, API_BODY_BYTES)
        if body is None:
            raise target.BadRequest(413, "Request Entity Too Large")
        headers = envelope.sealed(api.account, api.region, _seen_by_the_api(request, len(body), prefix))
        async with self._slots[api]:
            began = time.perf_counter()
            response = await self._send(request.method, url, headers, body)
            self.meter.record(api, response.status_code, (time.perf_counter() - began) * 1000)
        return response

    async def _send(self, method: str, url: httpx.URL, headers: dict[str, str], body: bytes) -> Response:
        try:
            async with self._client.stream(method, url, headers=headers, content=body) as answer:
                # As a handler coded it.
                content = b"".join([part async for part in answer.aiter_raw()])
        except httpx.TimeoutException:
            log.warning("no answer within %s s", ANSWER_WITHIN_S)
            return JSONResponse({"message": "Endpoint request timed out"}, status_code=504)
        except httpx.RequestError as error:
            return _unavailable(f"the emulator does not answer: {error!r}")
        response = Response(content, status_code=answer.status_code)
        # As bytes: a handler may put any character into a header.
        for name, value in answer.headers.raw:
            if name.lower().decode("latin-1") not in HOP_BY_HOP:
                response.raw_headers.append((name.lower(), value))
        return response


class Gate:
    """Answers what is no proper request itself: no API sees it, and no API's metrics count it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        app = self._app
        if scope["type"] == "http":
            try:
                target.check(scope["raw_path"], scope["query_string"], scope["headers"])
            except target.BadRequest as error:
                app = _refusal(error)
        await app(scope, receive, send)


def application(fleet: Fleet, upstream: Upstream) -> Starlette:
    """The edge as an ASGI application."""
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=100)
    client = httpx.AsyncClient(timeout=ANSWER_WITHIN_S, limits=limits, trust_env=False)
    edge = Edge(fleet, upstream, client)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        publishing = asyncio.create_task(edge.meter.publish_forever())
        async with client:
            yield
        publishing.cancel()
        await edge.meter.publish()

    api = r"/_api/{account}/{region}/{api}"
    return Starlette(
        lifespan=lifespan,
        middleware=[Middleware(Gate)],
        exception_handlers={target.BadRequest: _refused, ClientDisconnect: _gone, Exception: _failed},
        routes=[
            Route("/_edge/health", edge.health),
            Route("/_upload/{bucket}", edge.upload, methods=["POST"]),
            Route(api, edge.api, methods=METHODS),
            Route(api + "/{path:path}", edge.api, methods=METHODS),
            Route("/{path:path}", edge.product, methods=METHODS),
        ],
    )


def invocation(upstream: str, api: Api, path: str, query: bytes) -> httpx.URL:
    """Where the emulator invokes that API with this path and query, both as a client sent them and checked."""
    raw = f"/_aws/execute-api/{api.id}/$default{path}".encode("ascii")
    return httpx.URL(upstream).copy_with(raw_path=raw + b"?" + query if query else raw)


async def body_of(request: Request, at_most: int) -> bytes | None:
    """The body; None for one of more bytes, which is read to its end nonetheless, so that its sender hears of it."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        parts.append(part)
        if size > at_most:
            parts.clear()
    return b"".join(parts) if size <= at_most else None


def product_hosts(fleet: Fleet) -> dict[str, tuple[tuple[Cell, ...], Service]]:
    """Every product host, and which cells' service answers there: of a region's host, `<service host>.<endpoint>`, its
    own cell's or what fronts those of several; of a cell's host, `<service host>.<cell>.<endpoint>`, that cell's."""
    fronts = {host: service for service in fleet.services for host in service.fronts}
    found = {}
    for region in fleet.regions:
        for service in fleet.services:
            if service.host:
                front = fronts.get(service.host, service) if len(region.cells) > 1 else service
                found[f"{service.host}.{region.endpoint}".lower()] = (region.cells, front)
                for cell in region.cells:
                    found[f"{service.host}.{cell.name}.{region.endpoint}".lower()] = ((cell,), service)
    return found


def _seen_by_the_api(request: Request, length: int, prefix: str) -> list[tuple[str, str]]:
    """The headers that API Gateway gives to a Lambda."""
    client = request.client.host if request.client else "127.0.0.1"
    own = {"x-forwarded-proto", "x-forwarded-prefix"}
    headers = [(k, v) for k, v in request.headers.items() if k not in HOP_BY_HOP | own]
    headers += [("x-forwarded-proto", request.url.scheme)]
    headers += [("x-forwarded-prefix", prefix)] if prefix else []
    return [*headers, ("content-length", str(length)), ("x-forwarded-for", client)]


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, target.BadRequest)
    return _refusal(error)


async def _gone(request: Request, _: Exception) -> Response:
    log.warning("a client went away within its request: %s %s", request.method, request.scope["raw_path"])
    return Response(status_code=400)


async def _failed(_: Request, error: Exception) -> Response:
    return JSONResponse({"message": "Internal Server Error"}, status_code=500)


def _refusal(error: target.BadRequest) -> Response:
    log.warning("refused with %s: %s", error.status, error)
    return JSONResponse({"message": f"{error}"}, status_code=error.status)


def _unavailable(why: str) -> Response:
    log.warning("%s", why)
    return JSONResponse({"message": "Service Unavailable"}, status_code=503)
