"""Probes and proofs of convergence, asked over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import boto3
import pytest

from cellwave.fleet.model import AlarmSignal, HttpProof, ParameterProof, ProbeSignal
from cellwave.health.http import HttpSource, Observer
from cellwave.health.model import ProbeReading, Unreadable
from cellwave.health.ports import Scope

SCOPE = Scope(
    cell="c",
    service="s",
    account="300000000500",
    aws_region="eu-west-1",
    role="arn:aws:iam::300000000500:role/cellwave-deploy",
)


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


def test_a_deployment_that_does_not_answer_proves_nothing() -> None:
    """A refused connection is unreadable, and so is a stack without the output."""
    seen = Observer().digest(HttpProof(http="http://127.0.0.1:9/healthz"), SCOPE)
    assert isinstance(seen, Unreadable)
    assert isinstance(Observer().digest(HttpProof(http="{outputs[url]}"), SCOPE), Unreadable)


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


def test_a_probe_reads_the_status(web: Web) -> None:
    """What the answer holds does not matter."""
    web.answers = [(204, "")]
    signal = ProbeSignal(url=web.url, status=204)
    assert HttpSource().read(signal, SCOPE, 0) == ProbeReading(status=204)


def test_one_bad_answer_of_three_does_not_make_a_probe_fail(web: Web) -> None:
    """The best of three counts."""
    web.answers = [(503, ""), (503, ""), (200, "")]
    assert HttpSource().read(ProbeSignal(url=web.url), SCOPE, 0) == ProbeReading(status=200)
    web.answers = [(503, "")]
    assert HttpSource().read(ProbeSignal(url=web.url), SCOPE, 0) == ProbeReading(status=503)


def test_a_probe_without_an_answer_says_why() -> None:
    """Status 0 stands for no answer."""
    reading = HttpSource().read(ProbeSignal(url="http://127.0.0.1:9/"), SCOPE, 0)
    assert isinstance(reading, ProbeReading)
    assert reading.status == 0
    assert reading.reason


def test_only_probes_can_be_probed() -> None:
    """Another kind of signal is unreadable here, never a pass."""
    assert isinstance(HttpSource().read(AlarmSignal(name="a"), SCOPE, 0), Unreadable)
