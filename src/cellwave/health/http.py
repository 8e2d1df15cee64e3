"""What can be seen from outside by asking: HTTP probes, and the digest of the code that a deployment runs."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from threading import Event, Timer
from time import monotonic
from typing import Any, Literal, assert_never

import httpx
from botocore.exceptions import ClientError, ParamValidationError

from cellwave.errors import BadInput
from cellwave.faults import of_error
from cellwave.fleet.model import (
    HttpProof,
    ParameterProof,
    ProbeSignal,
)
from cellwave.health.aws import AWS_ERRORS, Clients
from cellwave.health.model import ProbeReading, Reading, Unreadable
from cellwave.health.ports import Readable, Scope, Wanted
from cellwave.health.template import expand
from cellwave.web import Route

TIMEOUT = httpx.Timeout(10, connect=3)
WITHIN = 10.0  # seconds for a whole answer
TRIES = 3
# What deployments of an emulated AWS stand on: where nothing listens there, none of them can answer.
GROUND = ("AWS_ENDPOINT_URL", "CELLWAVE_EDGE_URL")


def http_client() -> httpx.Client:
    """A client that follows no redirect, and goes to this machine itself without a proxy."""
    return httpx.Client(timeout=TIMEOUT, transport=Route(), trust_env=False)


def get_within(client: httpx.Client, url: str, seconds: float) -> httpx.Response:
    """The answer to a GET, whole within so many seconds; httpx.TimeoutException when it isn't.

    httpx bounds each step, and a server that says a byte now and then takes as many steps as it likes: so the
    connection is cut when the time is over.
    """
    late, connections = Event(), list[socket.socket]()

    def opened(event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            connections.append(info["return_value"].get_extra_info("socket"))
            if late.is_set():
                cut()

    def cut() -> None:
        late.set()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    timer = Timer(seconds, cut)
    timer.start()
    try:
        # A connection of its own: none that was opened before could be cut.
        return client.get(url, headers={"Connection": "close"}, extensions={"trace": opened})
    except httpx.TransportError as error:
        if late.is_set():
            raise httpx.ReadTimeout(f"no whole answer within {seconds:.3g} seconds") from error
        raise
    finally:
        timer.cancel()


class HttpSource:
    """Reads ProbeSignal. The best of TRIES in a row counts: one lost packet must not condemn a release. All of them
    together have so many `seconds`."""

    def __init__(self, client: httpx.Client | None = None, seconds: float = WITHIN) -> None:
        self._client = client or http_client()
        self._seconds = seconds

    def read(self, wanted: Sequence[Wanted]) -> list[Reading]:
        """See SignalSource; a probe is always newer than `since`."""
        return [self._read(one.signal) for one in wanted]

    def _read(self, signal: Readable) -> Reading:
        if not isinstance(signal, ProbeSignal):
            return Unreadable(reason=f"a {signal.kind} signal can't be probed")
        reading, end = ProbeReading(status=0), monotonic() + self._seconds
        for _ in range(TRIES):
            reading = self._probe(signal.url, end - monotonic())
            if reading.status == signal.status or monotonic() >= end:
                break
        return reading

    def _probe(self, url: str, seconds: float) -> ProbeReading:
        try:
            return ProbeReading(status=get_within(self._client, url, seconds).status_code)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return ProbeReading(status=0, reason=str(error) or type(error).__name__)


class Observer:
    """Looks at a deployment from outside the engine, to see which code it runs."""

    def __init__(self, clients: Clients | None = None, client: httpx.Client | None = None) -> None:
        self._clients = clients or Clients()
        self._client = client or http_client()

    def digest(self, proof: HttpProof | ParameterProof, scope: Scope) -> str | Unreadable:
        """The digest that the deployment reports; Unreadable says why there is none. Expands the proof's texts."""
        try:
            proof = expand(proof, scope, f"services.{scope.service}.proof")
        except BadInput as error:
            return Unreadable(reason=str(error))
        match proof:
            case HttpProof():
                return self._unless_gone(_from_http(proof, self._client))
            case ParameterProof():
                return _from_parameter(proof, scope, self._clients)
            case _:
                assert_never(proof)

    def _unless_gone(self, seen: str | Unreadable) -> str | Unreadable:
        """What was seen; no fault of the deployment's where what it stands on gives no answer to anybody."""
        if isinstance(seen, str) or seen.cause == "way":
            return seen
        for url in (url for name in GROUND if (url := os.environ.get(name))):
            try:
                self._client.get(url)
            except httpx.HTTPError as error:
                told = f"{seen.reason}; {url}, which all of it goes through, gives no answer at all: {error}"
                return Unreadable(reason=told, cause="way", fault="network")
        return seen


@cache
def _observer() -> Observer:
    return Observer()


def observe_digest(proof: HttpProof | ParameterProof, scope: Scope) -> str | Unreadable:
    """The digest that a deployment reports, seen with this process's credentials and one set of connections."""
    return _observer().digest(proof, scope)


def _from_http(proof: HttpProof, client: httpx.Client) -> str | Unreadable:
    try:
        answer = get_within(client, proof.http, WITHIN)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        told, cause = f"{proof.http} did not answer: {error or type(error).__name__}", _cause(error)
        return Unreadable(reason=told, cause=cause, fault=of_error(error) if cause == "way" else None)
    if answer.status_code != 200:
        return Unreadable(reason=f"{proof.http} answers {answer.status_code}")
    try:
        body = answer.json()
    except ValueError:
        return Unreadable(reason=f"{proof.http} does not answer JSON")
    digest = body.get(proof.field) if isinstance(body, dict) else None
    if not isinstance(digest, str) or not digest:
        return Unreadable(reason=f"{proof.http} answers JSON without a text {proof.field!r}")
    return digest


def _cause(error: Exception) -> Literal["silence", "way"]:
    """Whether a request never went as far as to the deployment: no name, no network, a proxy of this shell's."""
    chain: BaseException | None = error
    while chain is not None:
        lost = isinstance(chain, OSError) and chain.errno in (errno.ENETUNREACH, errno.ENETDOWN)
        if lost or isinstance(chain, (socket.gaierror, httpx.ProxyError)):
            return "way"
        chain = chain.__cause__ or chain.__context__
    return "silence"


def _from_parameter(proof: ParameterProof, scope: Scope, clients: Clients) -> str | Unreadable:
    try:
        return clients.ssm(scope).get_parameter(Name=proof.parameter)["Parameter"]["Value"]
    except AWS_ERRORS as error:
        told = f"parameter {proof.parameter} of {scope.cell}: {error}"
        fault = of_error(error)
        if fault == "unknown" and isinstance(error, ClientError | ParamValidationError):
            return Unreadable(reason=told)
        return Unreadable(reason=told, cause="way", fault=fault)
