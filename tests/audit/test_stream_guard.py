"""What tenants name is reached at public addresses alone, by verified TLS, for a while, and without redirects."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.handlers.stream.guard import ANSWER_BYTES, Network, Refused, Unreachable, is_public, place_of
from tests.audit.receivers import HOSTS, Got, Receiver, certificate, receiving


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate."""
    return certificate(tmp_path_factory.mktemp("receiver"))


@pytest.fixture
def receiver(pem: Path) -> Iterator[Receiver]:
    """A destination on this machine."""
    with receiving(pem) as made:
        yield made


URL = f"https://{HOSTS[0]}/hook?a=b"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.1.2.3", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "100.64.0.1", "169.254.169.254", "169.254.170.2", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1",
        "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::7f00:1",
        "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1",
        "2002:7f00:1::", "2002:808:808::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
        "receiver.example", "",
    ],
)  # fmt: skip
def test_what_is_not_of_the_internet_s_is_not_reached(address: str) -> None:
    """A machine's own, its link's and metadata, private and shared networks, and IPv6 that hides such an address."""
    assert not is_public((address, 443))


@pytest.mark.parametrize("address", ["8.8.8.8", "52.94.236.248", "2606:4700:4700::1111", "2a00:1450:4001::1"])
def test_what_is_of_the_internet_s_is(address: str) -> None:
    """IPv4, and global unicast of IPv6."""
    assert is_public((address, 443))


def test_a_request_goes_to_the_address_that_was_judged_in_the_host_s_name(receiver: Receiver) -> None:
    """Its path, its headers, its body; the answer's headers and beginning."""
    receiver.answer = lambda _: (202, {"Retry-After": "7"}, b"x" * (ANSWER_BYTES + 9))
    answer = receiver.network().post(URL, {"a": "b"}, b"body")
    assert (answer.status, answer.headers["retry-after"], len(answer.body)) == (202, "7", ANSWER_BYTES)
    (got,) = receiver.got
    assert (got.path, got.body, got.headers["host"], got.headers["a"]) == (
        "/hook?a=b",
        b"body",
        HOSTS[0],
        "b",
    )


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"]
)
def test_by_itself_nothing_of_this_machine_is_reached(receiver: Receiver, host: str) -> None:
    """Though somebody listens there, and however the address is written."""
    with pytest.raises(Refused, match="is no public address"):
        Network().post(f"https://{host}:{receiver.port}/", {}, b"")
    assert receiver.got == []


def test_one_address_that_is_not_public_refuses_the_name(receiver: Receiver) -> None:
    """Wherever it stands among the others."""
    for places in ([("8.8.8.8", 443), ("10.0.0.1", 443)], [("10.0.0.1", 443), ("8.8.8.8", 443)]):
        network = Network(resolve=lambda *_, places=places: places)
        with pytest.raises(Refused, match=f"{HOSTS[0]} is at 10.0.0.1, which is no public address"):
            network.post(URL, {}, b"")


def test_a_name_that_is_elsewhere_a_moment_later_leads_nowhere_else(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for once, and what was judged is connected to: public first and private second is no way in."""
    answers = iter([[("8.8.8.8", receiver.port)], [("127.0.0.1", receiver.port)]])
    reached: list[Any] = []

    def connect(place: tuple[str, int], *_: object) -> socket.socket:
        reached.append(place)
        raise OSError("nobody there")

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("resolved once more"))
    with pytest.raises(Unreachable, match="can't be connected to"):
        Network(resolve=lambda *_: next(answers)).post(URL, {}, b"")
    assert reached == [("8.8.8.8", receiver.port)]
    assert receiver.got == []
    many = [(f"8.8.8.{number}", 443) for number in range(9)]
    with pytest.raises(Unreachable):
        Network(resolve=lambda *_: many).post(URL, {}, b"")
    assert reached[1:] == many[:3]  # or a name could take all the time that there is


def test_a_redirect_is_an_answer_and_nothing_more(receiver: Receiver) -> None:
    """Wherever it leads."""
    receiver.answer = lambda _: (307, {"Location": URL}, b"")
    assert receiver.network().post(URL, {}, b"").status == 307
    assert len(receiver.got) == 1


def test_a_certificate_that_is_not_trusted_or_another_s_ends_it(receiver: Receiver) -> None:
    """Nothing is sent."""
    network = receiver.network()
    with pytest.raises(Unreachable, match="its certificate is not trusted"):
        Network(network.resolve, network.rule).post(URL, {}, b"secret")
    with pytest.raises(Unreachable, match="its certificate is not trusted: Hostname mismatch"):
        network.post("https://other.example/", {}, b"secret")
    assert receiver.got == []


@pytest.mark.parametrize(
    "first", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab"]
)
def test_who_does_not_answer_in_time_is_left(receiver: Receiver, first: bytes) -> None:
    """From the first byte to the last, and also when bytes drip in for ever."""

    def drip(handler: Any) -> None:
        handler.wfile.write(first)
        while not handler.connection._closed and handler.connection.recv(4096):
            continue

    receiver.wild = drip
    with pytest.raises(Unreachable, match=r"no answer within 0\.3 s"):
        receiver.network(seconds=0.3).post(URL, {}, b"body")


@pytest.mark.parametrize(
    "said",
    [b"", b"no HTTP at all\r\n\r\n", b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\na: b\r\n",
     b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200],
)  # fmt: skip
def test_who_answers_nonsense_is_unreachable(receiver: Receiver, said: bytes) -> None:
    """Or goes away, or says more than anybody reads."""

    def say(handler: Any) -> None:
        handler.rfile.read(4)
        handler.wfile.write(said)

    receiver.wild = say
    with pytest.raises(Unreachable, match=f"{HOSTS[0]}: no answer: "):
        receiver.network().post(URL, {}, b"body")


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@given(
    st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", CHUNKED]),
    st.binary(max_size=300),
)
@settings(max_examples=25, deadline=None)
def test_whatever_is_answered_is_an_answer_or_none(pem: Path, first: bytes, rest: bytes) -> None:
    """No destination makes its worker fail: a tenant's is a failure of the stream alone."""

    def say(handler: Any) -> None:
        handler.rfile.read(4)
        handler.wfile.write(first + rest)

    with receiving(pem) as receiver:
        receiver.wild = say
        with suppress(Unreachable):
            assert isinstance(receiver.network(seconds=2).post(URL, {}, b"body").status, int)


def test_a_chunk_of_less_than_nothing_is_no_answer(receiver: Receiver) -> None:
    """To Python's http.client it is all that comes, which would fill its memory: here, who says so is cut off."""
    cut = threading.Event()

    def say(handler: Any) -> None:
        handler.rfile.read(4)
        handler.wfile.write(CHUNKED + b"-1\r\n")
        try:
            for _ in range(64):  # MB: more than all sockets between hold
                handler.wfile.write(b"x" * 2**20)
        except OSError:
            cut.set()

    receiver.wild = say
    with pytest.raises(Unreachable, match="no answer: "):
        receiver.network().post(URL, {}, b"body")
    assert cut.wait(10)


def test_nobody_listens_and_no_name_are_told_apart() -> None:
    """In words of the machine's, without anything of the request."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    network = Network(resolve=lambda *_: [("127.0.0.1", port)], rule=lambda _: True)
    with pytest.raises(Unreachable, match="can't be connected to: ConnectionRefusedError"):
        network.post(URL, {}, b"")

    def nowhere(*_: object) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(Unreachable, match="can't be resolved: gaierror Name or service not known"):
        Network(resolve=nowhere).post(URL, {}, b"")


@pytest.mark.parametrize(
    "url",
    ["http://a.example/", "https://", "https:///a", "https://u:p@a.example/", "https://u@a.example/", "a.example",
     "https://a.example:x/", "https://a.example:99999/", "https://a.example/#a", "https://a.example/ b",
     "https://a.example/\r\nhost: b", "https://ä.example/", "ftp://a.example", "file:///etc/passwd", "https://[::1",
     "https://a\x7f.example/"],
)  # fmt: skip
def test_what_is_no_https_url_is_refused_before_anybody_is_asked(url: str) -> None:
    """And so is what has a password in it."""
    with pytest.raises(ValueError, match=r"a URL without|an https://"):
        place_of(url)


def test_an_answer_of_a_test_receiver_is_what_came(receiver: Receiver) -> None:
    """Each request is a connection of its own."""
    network = receiver.network()
    for number in range(3):
        network.post(URL, {}, str(number).encode())
    assert [got.body for got in receiver.got] == [b"0", b"1", b"2"]
    assert isinstance(receiver.got[0], Got)
