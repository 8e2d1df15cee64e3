"""Requests to addresses that strangers name: public ones alone, by verified TLS, and bounded in every way.

A name is resolved once, every address that it has is judged, and the connection is made to such an address: a name that
has another a moment later changes nothing. No redirect is followed, and no proxy is asked.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

ANSWER_BYTES = 64 * 1024
CONNECT_SECONDS = 3.0  # an address
MOST_ADDRESSES = 3  # of a name that are tried
SECONDS = 20.0  # a request and its answer, altogether

Place = tuple[str, int]  # an address and a port
# Where a host is, and a port of it.
Resolve = Callable[[str, int], list[Place]]
# Whether a connection may be made to there.
Rule = Callable[[Place], bool]

_UNICAST = ip_network("2000::/3")
# Of IANA's special-purpose registries what Pythons judge differently.
_SPECIAL = [ip_network(net) for net in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20")]


class Refused(Exception):
    """Nothing was sent: the address is none that may be reached. The text says why."""


class Unreachable(Exception):
    """No answer was had, whatever became of the request. The text says why."""


@dataclass(frozen=True)
class Answer:
    """What a destination said; `headers` by lower-case names, of `body` the first ANSWER_BYTES."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def is_public(place: Place) -> bool:
    """Whether that is at an address of the internet's: not of a machine's own, its link's, or a private network's.

    Of IPv6 the global unicast alone, so none that an IPv4 address is hidden in (mapped, NAT64, 6to4, Teredo).
    """
    try:
        found: IPv4Address | IPv6Address = ip_address(place[0])
    except ValueError:
        return False
    if not found.is_global or any(found in network for network in _SPECIAL):
        return False
    if isinstance(found, IPv6Address):
        return found in _UNICAST and not found.sixtofour
    return not (found.is_multicast or found.is_reserved)


def resolve(host: str, port: int) -> list[Place]:
    """As the machine resolves it; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((str(address[0]), port) for *_, address in found))


@dataclass(frozen=True)
class Network:
    """How the outside is reached; but for tests, as it is by itself."""

    resolve: Resolve = resolve
    rule: Rule = is_public
    trust: Callable[[], ssl.SSLContext] = ssl.create_default_context
    seconds: float = SECONDS

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send that and read the answer; raises Refused or Unreachable."""
        host, port, path = place_of(url)
        connection = _Pinned(host, port, self._connect(host, port), self.trust())
        # A socket's own timeout begins anew with every byte that drips in.
        over = threading.Timer(self.seconds, connection.cut)
        over.start()
        try:
            connection.request("POST", path, body, {**headers, "connection": "close"})
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            found = Answer(answer.status, told, answer.read(ANSWER_BYTES))
        except (OSError, HTTPException) as error:
            if not connection.was_cut:
                raise Unreachable(f"{host}: no answer: {_said(error)}") from None
        finally:
            over.cancel()
            connection.close()
        if connection.was_cut:
            raise Unreachable(f"{host}: no answer within {self.seconds:g} s")
        return found

    def _connect(self, host: str, port: int) -> socket.socket:
        try:
            places = self.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"{host}: can't be resolved: {_said(error)}") from None
        for place in places:
            if not self.rule(place):
                raise Refused(f"{host} is at {place[0]}, which is no public address")
        wrong: OSError = OSError("it has no address")
        for place in places[:MOST_ADDRESSES]:
            try:
                return socket.create_connection(place, CONNECT_SECONDS)
            except OSError as error:
                wrong = error
        raise Unreachable(f"{host}: can't be connected to: {_said(wrong)}")


def place_of(url: str) -> tuple[str, int, str]:
    """Host, port and path of an https URL; ValueError, whose text says what is wrong, for any other."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        host = None
    if not host or parts.scheme != "https" or not re.fullmatch("[!-~]+", url):
        raise ValueError("an https:// URL of printable ASCII, with a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("a URL without user, password and fragment")
    return host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class _Lines:
    """A socket's file that knows the last line that was read of it."""

    def __init__(self, file: Any) -> None:
        self._file, self.last = file, b""

    def readline(self, *limit: int) -> bytes:
        """As the file's."""
        self.last = self._file.readline(*limit)
        return self.last

    def read(self, size: int) -> bytes:
        """As the file's; HTTPException for less than nothing, which is all that comes: a chunk may say so."""
        if size < 0:
            raise HTTPException("a chunk of less than nothing")
        content: bytes = self._file.read(size)
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Whole(HTTPResponse):
    """An answer with all of its headers: http.client takes one that was cut in its first line for a good one."""

    def begin(self) -> None:
        """As ever; HTTPException when the end came before the blank line did."""
        lines: Any = _Lines(self.fp)
        self.fp = lines
        super().begin()
        if lines.last not in (b"\r\n", b"\n"):
            raise HTTPException("it was cut")


class _Pinned(HTTPSConnection):
    """Over a socket that is connected already: to the address that was judged, in the name of the host."""

    response_class = _Whole

    def __init__(self, host: str, port: int, plain: socket.socket, trust: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=CONNECT_SECONDS, context=trust)
        self._plain, self._trust = plain, trust
        self.was_cut = False

    def connect(self) -> None:
        """TLS, with the host's name asked for and verified."""
        # Known before the handshake, so that this can be cut too.
        self.sock: Any = self._trust.wrap_socket(
            self._plain, server_hostname=self.host, do_handshake_on_connect=False
        )
        self.sock.do_handshake()
        self.sock.settimeout(None)

    def cut(self) -> None:
        """End it, wherever it is."""
        self.was_cut = True
        with suppress(OSError):
            socket.socket.shutdown(self.sock or self._plain, socket.SHUT_RDWR)

    def close(self) -> None:
        """As ever, and the socket below."""
        super().close()
        self._plain.close()


def _said(error: Exception) -> str:
    """An error in words, without what it holds of the request."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__} {text}"[:200].strip()
