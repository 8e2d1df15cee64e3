"""The reverse proxy itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cellwave.fleet.homing import home_cell, identity_of
from cellwave.fleet.model import Fleet, Region, Service
from cellwave.sandbox.edge import postpolicy, target
from cellwave.sandbox.edge.directory import Directory
from cellwave.sandbox.edge.metrics import Api, Meter

# API Gateway's own limit for an integration.
ANSWER_WITHIN_S = 30.0
# The emulator starts a process for every call that comes while others run, without end, and a start costs a
# machine's core half a second: more calls to one API wait here.
CALLS_AT_ONCE = max(2, os.cpu_count() or 1)
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
    *("transfer-encoding", "upgrade", "host", "content-length"),
}


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
        self._homing = fleet.homing
        self._directory = Directory(upstream.secret)
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
        return await self._call(api, request, skip=4)

    async def product(self, request: Request) -> Response:
        """A product host, named by the Host header or the first segment of the path."""
        host = request.headers.get("host", "").rsplit(":", 1)[0].lower()
        skip = 0
        if host not in self._hosts:
            host, skip = target.segment(request.scope["raw_path"], 1).lower(), 1
        if host not in self._hosts:
            message = "no such host here: name one in the Host header or as the first segment of the path"
            return JSONResponse({"message": message, "hosts": sorted(self._hosts)}, status_code=404)
        region, service = self._hosts[host]
        cell = home_cell(identity_of(request.headers, self._homing), region.cells)
        api_id = await self._directory.find(cell, f"{cell.name}-{service.name}")
        if api_id is None:
            message = f"cell {cell.name} has no API {cell.name}-{service.name} yet"
            return JSONResponse({"message": message}, status_code=404)
        api = Api(account=cell.account, region=cell.aws_region, id=api_id)
        response = await self._call(api, request, skip=skip)
        response.headers["x-cellwave-cell"] = cell.name
        return response

    async def upload(self, request: Request) -> Response:
        """`/_upload/{bucket}`: a browser-style POST to S3, its policy's signature checked first."""
        bucket = target.named(target.BUCKET, target.segment(request.scope["raw_path"], 2), "bucket")
        body = await request.body()
        content_type = request.headers.get("content-type", "")
        try:
            postpolicy.verify(postpolicy.form_fields(content_type, body), self._upstream.secret)
        except postpolicy.Refused as refused:
            return Response(refused.xml, status_code=refused.status, media_type="application/xml")
        return await self._send(
            "POST", httpx.URL(f"{self._upstream.url}/{bucket}"), [("content-type", content_type)], body
        )

    async def _call(self, api: Api, request: Request, *, skip: int) -> Response:
        """Invoke an API and count the answer; whatever the emulator says passes through."""
        path = target.below(request.scope["raw_path"], skip)
        url = invocation(self._upstream.url, api, path, request.scope["query_string"].decode("ascii"))
        headers = [(k, v) for k, v in request.headers.items() if k not in HOP_BY_HOP]
        client = request.client.host if request.client else "127.0.0.1"
        headers.append(("x-forwarded-for", client))
        body = await request.body()
        async with self._slots[api]:
            began = time.perf_counter()
            response = await self._send(request.method, url, headers, body)
            self.meter.record(api, response.status_code, (time.perf_counter() - began) * 1000)
        return response

    async def _send(
        self, method: str, url: httpx.URL, headers: list[tuple[str, str]], body: bytes
    ) -> Response:
        try:
            answer = await self._client.request(method, url, headers=headers, content=body)
        except httpx.TimeoutException:
            return JSONResponse({"message": "Endpoint request timed out"}, status_code=504)
        except httpx.RequestError:
            return JSONResponse({"message": "Service Unavailable"}, status_code=503)
        response = Response(answer.content, status_code=answer.status_code)
        # httpx has decoded the content already.
        dropped = HOP_BY_HOP | {"content-encoding"}
        # As bytes: a handler may put any character into a header.
        for name, value in answer.headers.raw:
            if name.lower().decode("latin-1") not in dropped:
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
        exception_handlers={target.BadRequest: _refused},
        routes=[
            Route("/_edge/health", edge.health),
            Route("/_upload/{bucket}", edge.upload, methods=["POST"]),
            Route(api, edge.api, methods=METHODS),
            Route(api + "/{path:path}", edge.api, methods=METHODS),
            Route("/{path:path}", edge.product, methods=METHODS),
        ],
    )


def invocation(upstream: str, api: Api, path: str, query: str) -> httpx.URL:
    """Where the emulator invokes that API with this path and query, both as a client sent them and checked."""
    day = datetime.now(UTC).strftime("%Y%m%d")
    # The emulator finds the API's account and region in this parameter alone, and takes the first: a client's own
    # must not lead elsewhere.
    scope = f"X-Amz-Credential={api.account}%2F{day}%2F{api.region}%2Fexecute-api%2Faws4_request"
    query = "&".join(part for part in (scope, query) if part)
    raw = f"/_aws/execute-api/{api.id}/$default{path}?{query}"
    return httpx.URL(upstream).copy_with(raw_path=raw.encode("ascii"))


def product_hosts(fleet: Fleet) -> dict[str, tuple[Region, Service]]:
    """Every product host, `<service host>.<region endpoint>`, and what it stands for."""
    return {
        f"{service.host}.{region.endpoint}".lower(): (region, service)
        for region in fleet.regions
        for service in fleet.services
        if service.host
    }


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, target.BadRequest)
    return _refusal(error)


def _refusal(error: target.BadRequest) -> Response:
    return JSONResponse({"message": f"Bad Request: {error}"}, status_code=error.status)
