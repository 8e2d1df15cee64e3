"""Bodies that are too large, or never come: the client is told, and the log says a line."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from cellwave.fleet.parse import parse_fleet
from cellwave.project import Project, find_project
from cellwave.sandbox.edge.app import API_BODY_BYTES, Upstream, application

from .aws import http_api, session, until
from .test_edge import HANDLER

ACCOUNT, REGION = "200000000915", "eu-west-1"


@pytest.fixture(scope="module")
def url(sandbox: Project) -> str:
    """An API that tells what it was asked."""
    api_id = http_api(session(ACCOUNT, REGION), "told", HANDLER)
    return f"{os.environ['CELLWAVE_EDGE_URL']}/_api/{ACCOUNT}/{REGION}/{api_id}"


@pytest.fixture(scope="module")
def log(sandbox: Project) -> Path:
    """What the edge writes."""
    return sandbox.home / "sandbox" / "logs" / "edge.log"


def chunks(size: int) -> Iterator[bytes]:
    """A body whose length isn't told before."""
    for start in range(0, size, 65536):
        yield b"x" * min(65536, size - start)


def test_a_body_beyond_api_gateways_limit_is_refused(url: str) -> None:
    """413 in its words, with a length and in chunks, and the connection serves on."""
    with httpx.Client(timeout=60) as client:
        for content in (b"x" * (API_BODY_BYTES + 1), chunks(API_BODY_BYTES + 1)):
            answer = client.post(url, content=content)
            assert answer.status_code == 413
            assert answer.json() == {"message": "Request Entity Too Large"}
        assert client.get(url).status_code == 200


def send(url: str, *lines: str, then: bytes = b"") -> None:
    """A request that ends in the middle, and a client that is gone."""
    edge = urlsplit(url)
    with socket.create_connection((edge.hostname, edge.port), timeout=60) as wire:
        wire.sendall("\r\n".join([*lines, "Host: edge", "", ""]).encode() + then)


@pytest.mark.parametrize("path", ["/x", "upload", "product"])
@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_client_that_goes_away_leaves_a_line(url: str, log: Path, path: str, framing: str) -> None:
    """One line, no traceback, and others are served."""
    target = {"upload": "/_upload/bucket", "product": "/events.us.audit.example"}.get(
        path, urlsplit(url).path + path
    )
    before = log.read_text().count("went away")
    send(url, f"POST {target} HTTP/1.1", framing, then=b"5\r\nhello\r\n")
    if path != "product":  # where there is no API, the body isn't waited for
        until("logged", lambda: log.read_text().count("went away") == before + 1)
    assert httpx.get(f"{os.environ['CELLWAVE_EDGE_URL']}/_edge/health").status_code == 200
    assert "Traceback" not in log.read_text()


def test_a_refusal_is_logged_in_words(url: str, log: Path) -> None:
    """A line without what would speak to a terminal."""
    assert httpx.get(f"{url}/%1b[31mred", headers={"X": "y"}).status_code == 400
    until("logged", lambda: "refused with 400: the path has" in log.read_text())
    assert "\x1b" not in log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("path", [f"/_api/{ACCOUNT}/{REGION}/abc/x", "/events.us.audit.example/x"])
def test_an_emulator_that_is_down_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """503 as API Gateway's, and why in the log."""
    nobody = "http://127.0.0.1:9"
    monkeypatch.setenv("AWS_ENDPOINT_URL", nobody)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    edge = application(parse_fleet(find_project().config_files()), Upstream(nobody, "secret"))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://edge") as client:
            return await client.get(path)

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()) == (503, {"message": "Service Unavailable"})
    assert any(record.levelname == "WARNING" for record in caplog.records)
    assert not any(record.exc_info for record in caplog.records)
