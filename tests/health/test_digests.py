"""Probes and proofs of convergence, asked over real sockets."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from unittest.mock import Mock

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ParamValidationError

from cellwave.errors import Fault
from cellwave.fleet.model import AlarmSignal, HttpProof, ParameterProof, ProbeSignal, Signal
from cellwave.health.aws import Clients
from cellwave.health.http import GROUND, HttpSource, Observer
from cellwave.health.model import ProbeReading, Reading, Unreadable
from cellwave.health.ports import Scope, Wanted

SCOPE = Scope(
    cell="c",
    service="s",
    account="300000000500",
    aws_region="eu-west-1",
    role="arn:aws:iam::300000000500:role/cellwave-deploy",
)


@pytest.fixture(autouse=True)
def real_aws(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is emulated, whatever sandbox other tests have up, but for a test that asks for it."""
    for name in () if "sandbox" in request.fixturenames else GROUND:
        monkeypatch.delenv(name, raising=False)


class Web:
    """A server that gives one answer after another, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = [(200, "{}")]
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = web.answers.pop(0) if len(web.answers) > 1 else web.answers[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base class)
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def web() -> Iterator[Web]:
    """A running server."""
    made = Web()
    thread = Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def see(web: Web, *, field: str = "digest") -> str | Unreadable:
    """What the observer sees at the server."""
    scope = SCOPE.model_copy(update={"outputs": {"url": web.url}})
    return Observer().digest(HttpProof(http="{outputs[url]}/healthz", field=field), scope)


def test_the_digest_is_a_field_of_the_answer(web: Web) -> None:
    """The proof names the field."""
    web.answers = [(200, json.dumps({"digest": "abc", "other": "def"}))]
    assert see(web) == "abc"
    assert see(web, field="other") == "def"


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (503, '{"digest": "abc"}', "answers 503"),
        (302, '{"digest": "abc"}', "answers 302"),
        (200, "<html>", "does not answer JSON"),
        (200, "[]", "without a text 'digest'"),
        (200, '{"digest": 7}', "without a text 'digest'"),
        (200, '{"digest": ""}', "without a text 'digest'"),
    ],
)
def test_any_other_answer_proves_nothing(web: Web, status: int, body: str, why: str) -> None:
    """Only a 200 with the field is a digest; everything else says why not."""
    web.answers = [(status, body)]
    seen = see(web)
    assert isinstance(seen, Unreadable)
    assert why in seen.reason


class Lost(httpx.BaseTransport):
    """A machine whose requests end like this."""

    def __init__(self, error: Exception, cause: Exception | None = None) -> None:
        self._error, self._cause = error, cause

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Fail."""
        raise self._error from self._cause


CONNECT = httpx.ConnectError("no")


@pytest.mark.parametrize(
    ("transport", "cause"),
    [
        (Lost(CONNECT, socket.gaierror(-2, "Name or service not known")), "way"),
        (Lost(CONNECT, OSError(errno.ENETUNREACH, "Network is unreachable")), "way"),
        (Lost(httpx.ProxyError("407")), "way"),
        (Lost(CONNECT, ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")), "silence"),
        (Lost(CONNECT, OSError(errno.EHOSTUNREACH, "No route to host")), "silence"),
        (Lost(httpx.ConnectTimeout("timed out")), "silence"),
        (Lost(httpx.ReadTimeout("timed out")), "silence"),
        (Lost(httpx.RemoteProtocolError("what is this")), "silence"),
    ],
)
def test_who_could_not_be_asked_is_told_from_who_did_not_answer(transport: Lost, cause: str) -> None:
    """Without a name, a network or a proxy no request has gone as far as to the deployment."""
    seen = Observer(client=httpx.Client(transport=transport)).digest(HttpProof(http="http://x/"), SCOPE)
    assert isinstance(seen, Unreadable)
    assert seen.cause == cause


def refusing(error: Exception) -> Clients:
    """Clients whose SSM gives this error."""

    class Refusing(Clients):
        def ssm(self, scope: Scope) -> Any:
            return Mock(get_parameter=Mock(side_effect=error))

    return Refusing()


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ClientError({"Error": {"Code": "ParameterNotFound"}}, "GetParameter"), None),
        (ClientError({"Error": {"Code": "ExpiredTokenException"}}, "GetParameter"), "credential"),
        (ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetParameter"), "credential"),
        (ClientError({"Error": {"Code": "ThrottlingException"}}, "GetParameter"), "throttle"),
        (NoCredentialsError(), "credential"),
        (EndpointConnectionError(endpoint_url="https://ssm"), "network"),
        (ParamValidationError(report="Name"), None),
    ],
)
def test_a_parameter_that_is_not_there_is_told_from_one_that_can_not_be_asked_for(
    error: Exception, fault: Fault | None
) -> None:
    """Credentials, throttling and connections are not the release's."""
    seen = Observer(clients=refusing(error)).digest(ParameterProof(parameter="/x"), SCOPE)
    assert isinstance(seen, Unreadable)
    assert (seen.cause, seen.fault) == ("way" if fault else "signal", fault)


def test_a_deployment_that_does_not_answer_proves_nothing() -> None:
    """A refused connection is unreadable, and so is a stack without the output."""
    seen = Observer().digest(HttpProof(http="http://127.0.0.1:9/healthz"), SCOPE)
    assert isinstance(seen, Unreadable)
    assert seen.cause == "silence"
    assert isinstance(Observer().digest(HttpProof(http="{outputs[url]}"), SCOPE), Unreadable)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "CELLWAVE_EDGE_URL"])
@pytest.mark.parametrize("how", ["gone", "frozen", "alive"])
def test_where_all_goes_through_something_that_is_gone_no_release_is_to_blame(
    web: Web, monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    """An emulator or edge that nobody listens at, or that answers nothing; one that answers anything is no excuse."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("CELLWAVE_EDGE_URL", raising=False)
    web.answers = [(502, "")]  # what a living edge says of a dead emulator, too
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if how == "gone":
            silent.close()
        monkeypatch.setenv(name, web.url if how == "alive" else f"http://127.0.0.1:{port}")
        client = httpx.Client(timeout=1)
        seen = Observer(client=client).digest(HttpProof(http=web.url), SCOPE)
    assert isinstance(seen, Unreadable)
    assert seen.cause == ("signal" if how == "alive" else "way")
    assert ("gives no answer at all" in seen.reason) == (how != "alive")


@pytest.mark.usefixtures("sandbox")
def test_a_parameter_holds_the_digest() -> None:
    """A service without an address proves itself by a parameter in its cell's account and region."""
    proof = ParameterProof(parameter="/cellwave/{service}")
    assert isinstance(Observer().digest(proof, SCOPE), Unreadable)
    boto3.client(
        "ssm", region_name=SCOPE.aws_region, aws_access_key_id=SCOPE.account, aws_secret_access_key="any"
    ).put_parameter(Name="/cellwave/s", Value="abc", Type="String")
    assert Observer().digest(proof, SCOPE) == "abc"
    elsewhere = SCOPE.model_copy(update={"aws_region": "us-west-2"})
    assert isinstance(Observer().digest(proof, elsewhere), Unreadable)


def probe(signal: Signal, seconds: float = 10) -> Reading:
    """What the probe says of one signal."""
    (reading,) = HttpSource(seconds=seconds).read([Wanted(signal=signal, scope=SCOPE, since=0)])
    return reading


def test_a_probe_reads_the_status(web: Web) -> None:
    """What the answer holds does not matter."""
    web.answers = [(204, "")]
    signal = ProbeSignal(url=web.url, status=204)
    assert probe(signal) == ProbeReading(status=204)


def test_one_bad_answer_of_three_does_not_make_a_probe_fail(web: Web) -> None:
    """The best of three counts."""
    web.answers = [(503, ""), (503, ""), (200, "")]
    assert probe(ProbeSignal(url=web.url)) == ProbeReading(status=200)
    web.answers = [(503, "")]
    assert probe(ProbeSignal(url=web.url)) == ProbeReading(status=503)


def test_a_probe_without_an_answer_says_why() -> None:
    """Status 0 stands for no answer."""
    reading = probe(ProbeSignal(url="http://127.0.0.1:9/"))
    assert isinstance(reading, ProbeReading)
    assert reading.status == 0
    assert reading.reason


def test_only_probes_can_be_probed() -> None:
    """Another kind of signal is unreadable here, never a pass."""
    assert isinstance(probe(AlarmSignal(name="a")), Unreadable)
