"""A source that hangs, drips, refuses or is asked too often: an ERROR of its own gates, in time, and of no other's."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from threading import Event, Thread

import pytest
from tests.health.fake import FakeSource

from cellwave.errors import Fault
from cellwave.fleet.model import AlarmSignal, HttpProof, ProbeSignal, RatioSignal, Signal
from cellwave.health.asking import AT_ONCE, Asking
from cellwave.health.aws import Clients
from cellwave.health.cloudwatch import CloudWatchSource
from cellwave.health.http import HttpSource, Observer
from cellwave.health.judge import judge_gate
from cellwave.health.model import AlarmReading, ProbeReading, Reading, Unreadable, Verdict
from cellwave.health.ports import Scope, Wanted
from cellwave.health.read import LiveSource

SCOPE = Scope(cell="c", service="s", account="300000000600", aws_region="eu-west-1")
ERRORS = RatioSignal(namespace="N", bad="bad", total="all", dimensions={}, at_most=0.01)
ALARM = AlarmSignal(name="a")
PATIENCE = 60  # seconds
Answer = Callable[[socket.socket, Event], None]


class Server:
    """Accepts connections, and does with each what `answer` says, until the test is over; counts them,
    and notes that one was left."""

    def __init__(self, answer: Answer) -> None:
        self.asked, self.over, self.left = 0, Event(), Event()
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.asked += 1
                Thread(target=self._serve_one, args=(connection,), daemon=True).start()

    def _serve_one(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self._answer(connection, self.over)
        self.left.set()

    def close(self) -> None:
        """Let go of every connection."""
        self.over.set()
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._listening.close()


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    """Who still asks when a test is over is waited for: its retries draw random numbers beside other tests."""
    before = {*threading.enumerate()}
    yield
    for thread in {*threading.enumerate()} - before:
        thread.join(PATIENCE)


def hang(connection: socket.socket, _over: Event) -> None:
    """Never a byte, until the other side goes."""
    while connection.recv(65536):
        pass


def drip(begin: bytes) -> Answer:
    """A byte now and then, after a beginning."""

    def dripping(connection: socket.socket, over: Event) -> None:
        connection.recv(65536)
        connection.sendall(begin)
        while not over.wait(0.02):
            connection.sendall(b"x")

    return dripping


def say(*answers: tuple[int, str, str]) -> Answer:
    """AWS's answers one after another (status, error, body), the last one for ever."""
    left = list(answers)

    def saying(connection: socket.socket, _over: Event) -> None:
        connection.recv(65536)
        status, error, body = left.pop(0) if len(left) > 1 else left[0]
        told = body or f'{{"__type": "{error}", "message": "{error} it is"}}'
        head = f"HTTP/1.1 {status} X\r\nDate: noon\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.0\r\n"
        connection.sendall(f"{head}Content-Length: {len(told)}\r\n\r\n{told}".encode())

    return saying


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Server]]:
    """Servers that go with the test."""
    made: list[Server] = []

    def started(answer: Answer) -> Server:
        made.append(Server(answer))
        return made[-1]

    yield started
    for server in made:
        server.close()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], CloudWatchSource]:
    """CloudWatch at a URL."""

    def source(url: str) -> CloudWatchSource:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        # The pause between two tries is botocore's; how long it is is no matter here.
        monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
        return CloudWatchSource(Clients())

    return source


def want(signal: Signal, scope: Scope = SCOPE) -> Wanted:
    """A signal since just now."""
    return Wanted(signal=signal, scope=scope, since=time.time() - 60)


def verdict(signal: Signal, reading: Reading) -> Verdict:
    """What a gate makes of it."""
    now = time.time()
    return judge_gate(
        signal, reading, min_samples=1, gates=1, cell="c", service="s", gate="g", at=now
    ).verdict


@pytest.mark.parametrize(
    "answer",
    [
        hang,
        drip(b"HTTP/1.1 200 OK\r\nX-Long: "),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"),
    ],
    ids=["never answers", "drips its head", "drips its body"],
)
def test_a_probe_that_is_not_answered_whole_in_time_is_an_error(
    serve: Callable[[Answer], Server], answer: Answer
) -> None:
    """Byte by byte is no answer; and the connection ends with it."""
    server = serve(answer)
    signal = ProbeSignal(url=server.url)
    (reading,) = HttpSource(seconds=0.3).read([want(signal)])
    assert isinstance(reading, ProbeReading)
    assert reading.status == 0
    assert "no whole answer within" in reading.reason
    assert verdict(signal, reading) is Verdict.ERROR
    assert server.left.wait(30)


def test_a_proof_that_is_not_answered_whole_in_time_is_unreadable(
    serve: Callable[[Answer], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a deployment reports is asked in the same way."""
    monkeypatch.setattr("cellwave.health.http.WITHIN", 0.3)
    for name in ("AWS_ENDPOINT_URL", "CELLWAVE_EDGE_URL"):
        monkeypatch.delenv(name, raising=False)
    server = serve(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"))
    seen = Observer().digest(HttpProof(http=server.url), SCOPE)
    assert isinstance(seen, Unreadable)
    assert seen.cause == "silence"


def test_who_hangs_holds_up_no_other_gate(serve: Callable[[Answer], Server]) -> None:
    """Neither another place's, nor a probe; however many hang."""
    over, hanging = Event(), 2 * AT_ONCE

    class Half(FakeSource):
        def read(self, wanted: Sequence[Wanted]) -> list[Reading]:
            if wanted[0].scope.account < "100":
                over.wait()
            return super().read(wanted)

    half = Half()
    sick = [SCOPE.model_copy(update={"account": f"{n:03}", "cell": f"sick-{n}"}) for n in range(hanging)]
    half.set_alarm(SCOPE, "a", "OK")
    half.statuses["http://x/"] = 200
    source = LiveSource(half, half, each=1)
    readings = source.read(
        [*(want(ALARM, scope) for scope in sick), want(ALARM), want(ProbeSignal(url="http://x/"))]
    )
    over.set()
    assert readings[-2:] == [AlarmReading(state="OK"), ProbeReading(status=200)]
    assert {verdict(ALARM, reading) for reading in readings[:-2]} == {Verdict.ERROR}
    assert isinstance(readings[0], Unreadable)
    assert readings[0].reason == "CloudWatch of sick-0: no answer within 1 seconds"
    assert readings[0].cause == "silence"


@pytest.mark.parametrize(
    "answer", [hang, drip(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")], ids=["hangs", "drips"]
)
def test_an_aws_that_hangs_is_an_error_of_its_gates(
    serve: Callable[[Answer], Server], aws: Callable[[str], CloudWatchSource], answer: Answer
) -> None:
    """Beside it a probe is answered, and passes."""
    web, server = serve(say((200, "", "{}"))), serve(answer)
    probe = ProbeSignal(url=web.url)
    source = LiveSource(aws(server.url), HttpSource(), each=3)
    errors, alarm, answered = source.read([want(ERRORS), want(ALARM), want(probe)])
    assert [verdict(ERRORS, errors), verdict(ALARM, alarm)] == [Verdict.ERROR, Verdict.ERROR]
    assert verdict(probe, answered) is Verdict.PASS


def test_all_together_have_a_time_too() -> None:
    """What could not be asked in it has not answered."""
    over = Event()
    asking = Asking[int, bool](each=5, all_=1)
    answers = asking.ask({0: lambda: True, **dict.fromkeys(range(1, 3 * AT_ONCE), over.wait)})
    over.set()
    assert answers[0] is True
    assert set(answers.values()) == {True, "no answer within a look's 1 seconds"}


def test_who_has_not_answered_yet_is_not_asked_again() -> None:
    """Each question holds a thread, and a look comes every few seconds; once it has answered it is asked anew."""
    over, asked, asking = Event(), [], Asking[str, str](each=2)

    def ask() -> str:
        asked.append(threading.current_thread())
        over.wait()
        return "here"

    for _ in range(5):
        assert "no answer" in asking.ask({"a": ask})["a"]
    assert len(asked) == 1
    over.set()
    asked[0].join()
    assert asking.ask({"a": ask}) == {"a": "here"}


def test_what_is_wrong_in_asking_is_raised() -> None:
    """A mistake of ours is no silence."""

    def broken() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Asking[str, str]().ask({"a": broken})


@pytest.mark.parametrize(
    ("code", "fault"),
    [("Throttling", "throttle"), ("ThrottlingException", "throttle"), ("InternalServiceFault", "network")],
)
def test_throttling_is_tried_again_a_few_times_and_is_an_error(
    serve: Callable[[Answer], Server], aws: Callable[[str], CloudWatchSource], code: str, fault: Fault
) -> None:
    """It says nothing about a release, and is of a kind."""
    server = serve(say((500 if code == "InternalServiceFault" else 400, code, "")))
    (reading,) = aws(server.url).read([want(ERRORS)])
    assert isinstance(reading, Unreadable)
    assert (reading.cause, reading.fault, verdict(ERRORS, reading)) == ("way", fault, Verdict.ERROR)
    assert code in reading.reason
    assert server.asked == 3


def test_throttling_that_passes_is_not_seen(
    serve: Callable[[Answer], Server], aws: Callable[[str], CloudWatchSource]
) -> None:
    """The third try is answered."""
    alarms = '{"MetricAlarms": [], "CompositeAlarms": []}'
    server = serve(say((400, "Throttling", ""), (400, "ThrottlingException", ""), (200, "", alarms)))
    assert aws(server.url).read([want(ALARM)]) == [AlarmReading(state="MISSING")]


@pytest.mark.parametrize("body", ["<html>", "[]", "{}", '{"MetricAlarms": 1}'])
def test_an_answer_that_is_none_of_awss_is_an_error(
    serve: Callable[[Answer], Server], aws: Callable[[str], CloudWatchSource], body: str
) -> None:
    """A proxy's page, say; what it says that the time is, is nonsense as well."""
    server = serve(say((200, "", body)))
    readings = aws(server.url).read([want(ALARM), want(ERRORS)])
    assert {verdict(ALARM, readings[0]), verdict(ERRORS, readings[1])} == {Verdict.ERROR}


@pytest.mark.parametrize(
    "code", ["ExpiredToken", "ExpiredTokenException", "AccessDenied", "InvalidClientTokenId"]
)
def test_a_credential_that_will_not_do_is_an_error_and_not_tried_again(
    serve: Callable[[Answer], Server], aws: Callable[[str], CloudWatchSource], code: str
) -> None:
    """Nor is each signal asked for by itself: it would be refused as well."""
    server = serve(say((403, code, "")))
    readings = aws(server.url).read([want(ERRORS), want(ERRORS.model_copy(update={"bad": "other"}))])
    assert [(r.cause, r.fault) for r in readings if isinstance(r, Unreadable)] == [("way", "credential")] * 2
    assert {verdict(ERRORS, reading) for reading in readings} == {Verdict.ERROR}
    assert server.asked == 1


def test_without_credentials_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role can't be taken without any."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    scope = SCOPE.model_copy(update={"role": "arn:aws:iam::300000000600:role/r"})
    (reading,) = CloudWatchSource(Clients()).read([want(ALARM, scope)])
    assert isinstance(reading, Unreadable)
    assert (reading.cause, reading.fault) == ("way", "credential")


def test_a_gate_that_is_an_error_says_of_which_kind() -> None:
    """A person reads what to mend; a signal that nobody could ask for condemns nothing."""
    reading = Unreadable(reason="the token is expired", cause="way", fault="credential")
    found = judge_gate(ERRORS, reading, min_samples=1, gates=1, cell="c", service="s", gate="g", at=1.0)
    assert (found.verdict, found.reason) == (Verdict.ERROR, "unreadable (credential): the token is expired")
