"""A destination of streams on this machine: a real HTTPS receiver, and the network by which it alone is reached."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from audit.handlers.stream.guard import Network, Place

HOSTS = ("receiver.example", "splunk.example", "http-intake.logs.datadoghq.eu")
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Got:
    """A request as it came; `headers` by lower-case names."""

    path: str
    headers: Mapping[str, str]
    body: bytes


Answer = Callable[[Got], tuple[int, Mapping[str, str], bytes]]


def fine(_: Got) -> tuple[int, Mapping[str, str], bytes]:
    """200."""
    return 200, {}, b""


@dataclass
class Receiver:
    """What came, and what is answered; `wild` talks to the socket itself, in the place of any answer."""

    port: int
    trust: ssl.SSLContext
    got: list[Got] = field(default_factory=list)
    answer: Answer = fine
    wild: Callable[[Any], None] | None = None

    def network(self, **more: Any) -> Network:
        """Every name is this receiver's, and its port is the one that may be reached."""

        def resolve(_host: str, _port: int) -> list[Place]:
            return [(LOOPBACK, self.port)]

        def rule(place: Place) -> bool:
            return place == (LOOPBACK, self.port)

        return Network(**{"resolve": resolve, "rule": rule, "trust": lambda: self.trust, **more})


def certificate(folder: Path) -> Path:
    """A certificate of these hosts, signed by itself, and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOSTS[0])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "receiver.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def receiving(pem: Path) -> Iterator[Receiver]:
    """A receiver, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if receiver.wild is not None:
                receiver.wild(self)
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers["content-length"]))
            got = Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            receiver.got.append(got)
            status, headers, content = receiver.answer(got)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Who is cut off ends so."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = Server((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    trust = ssl.create_default_context()
    trust.load_verify_locations(pem)
    receiver = Receiver(server.server_address[1], trust)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
