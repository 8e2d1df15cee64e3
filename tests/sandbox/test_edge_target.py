"""A request reaches the API it names or nothing: bytes on the wire, and every path that can be thought of."""

from __future__ import annotations

import os
import re
import socket
from urllib.parse import unquote, urlsplit

import boto3
import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cellwave.project import Project
from cellwave.sandbox.edge.app import invocation
from cellwave.sandbox.edge.metrics import Api
from cellwave.sandbox.edge.target import BadRequest, below, check

from .aws import http_api, session, until
from .test_edge import HANDLER, values

ACCOUNT, REGION = "200000000912", "eu-west-1"
BUCKET = "private-912"
API = Api(account=ACCOUNT, region=REGION, id="abcd1234")
PIECES = st.sampled_from(
    [
        "/",
        "//",
        ".",
        "..",
        "%2e",
        "%2E%2e",
        "%252e",
        "%25252e",
        "%2f",
        "%5c",
        "\\",
        ";x",
        "%00",
        "#",
        "?",
        "a",
        "b c",
    ]
)
PATHS = st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=20)).map(
    lambda path: f"/{path}"
)


@given(PATHS, st.integers(0, 4))
@example("/%252e%252e/%252e%252e/bucket/key", 0)
@example("/..;x/../key", 0)
def test_whatever_is_not_refused_stays_below_the_api(path: str, skip: int) -> None:
    """The emulator is asked for that API in that account, however often the path is decoded on its way."""
    try:
        check(path.encode(), b"", [])
    except BadRequest:
        return
    url = invocation("http://127.0.0.1:1", API, below(path.encode(), skip), b"")
    plain = url.raw_path.decode()
    base = f"/_aws/execute-api/{API.id}/$default/"
    for _ in range(5):
        assert plain.startswith(base)
        assert not {".", ".."} & set(re.split(r"[/\\]", plain))
        plain = unquote(plain)


@given(
    st.lists(st.from_regex(r"[A-Za-z0-9._~-]{1,8}|%2F|%20|%C3%A9|\.\.\.|a\.\.b", fullmatch=True), max_size=6)
)
def test_an_ordinary_path_arrives_as_it_was_sent(parts: list[str]) -> None:
    """No name that merely holds dots is refused, and nothing is decoded or put in order."""
    path = "/" + "/".join(part for part in parts if set(part) != {"."} or len(part) > 2)
    check(path.encode(), b"x=%2e%2e/..", [])
    url = invocation("http://127.0.0.1:1", API, below(path.encode(), 0), b"x=%2e%2e/..")
    assert url.raw_path.decode() == f"/_aws/execute-api/{API.id}/$default{path}?x=%2e%2e/.."


def raw(request: bytes) -> int:
    """The status that the edge answers to these very bytes."""
    edge = urlsplit(os.environ["CELLWAVE_EDGE_URL"])
    with socket.create_connection((edge.hostname, edge.port), timeout=60) as wire:
        wire.sendall(request)
        answer = b""
        while b"\r\n" not in answer:
            more = wire.recv(4096)
            assert more, "the edge closed without an answer"
            answer += more
    return int(answer.split(b" ", 2)[1])


def get(path: str, *headers: bytes, method: str = "GET") -> int:
    """The status of one request, its path sent as it stands."""
    lines = [f"{method} {path} HTTP/1.1".encode("latin-1"), b"Host: edge", b"Connection: close", *headers]
    return raw(b"\r\n".join(lines) + b"\r\n\r\n")


@pytest.fixture(scope="module")
def aws(sandbox: Project) -> boto3.Session:
    """An account with something private in a bucket."""
    found = session(ACCOUNT, REGION)
    s3 = found.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket=BUCKET, Key="key", Body=b"secret")
    return found


@pytest.mark.parametrize("dots", ["..", "%2e%2e", "%2E.", "%252e%252e", ".%25252e", "..;x"])
@pytest.mark.parametrize("slash", ["/", "%2f", "%5c", "\\", "//", "%252f"])
def test_no_path_climbs_out_of_its_route(aws: boto3.Session, dots: str, slash: str) -> None:
    """Product hosts, an API's own endpoint and uploads refuse it: no object of the account is given or written."""
    climb = slash.join([*[dots] * 5, BUCKET, "key"])
    for route in (f"/_api/{ACCOUNT}/{REGION}/abcd1234/", "/events.us.audit.example/", "/"):
        assert get(f"{route}{climb}") == 400
    assert get(f"/_upload/{climb}", b"Content-Length: 0", method="POST") == 400
    assert get(f"/_upload/{BUCKET}/{climb}", b"Content-Length: 0", method="POST") == 400


@pytest.mark.parametrize(
    "name",
    [
        f"{ACCOUNT}/{REGION}/abc%3Fx",
        f"{ACCOUNT}/{REGION}/abc%23",
        f"{ACCOUNT}/{REGION}%26/abc",
        f"1/{REGION}/abc",
    ],
)
def test_an_api_is_named_by_a_name(sandbox: Project, name: str) -> None:
    """An encoded `?`, `#` or `&` in an account, a region or an id doesn't become part of the emulator's URL."""
    assert get(f"/_api/{name}/x") == 400


def test_what_is_no_proper_request_is_the_clients_fault(aws: boto3.Session) -> None:
    """A 4xx each, none of which counts in the API's metrics."""
    api_id = http_api(aws, "proper", HANDLER)
    path = f"/_api/{ACCOUNT}/{REGION}/{api_id}"
    refused = {
        "a header beyond ASCII": get(f"{path}/x", b"X-Name: caf\xc3\xa9"),
        "a control character in a header": get(f"{path}/x", b"X-Name: a\x01b"),
        "a NUL in a header": get(f"{path}/x", b"X-Name: a\x00b"),
        "a NUL in the path": get(f"{path}/a\x00b"),
        "an encoded NUL in the path": get(f"{path}/a%00b"),
        "a path beyond ASCII": get(f"{path}/caf\xe9"),
        "a query beyond ASCII": get(f"{path}/x?caf\xe9"),
        "a fragment": get(f"{path}/x#y"),
        "an absolute target": get(f"http://elsewhere.example{path}/x"),
        "two hosts": get(f"{path}/x", b"Host: elsewhere.example"),
        "no host": raw(f"GET {path}/x HTTP/1.1\r\n\r\n".encode()),
        "two lengths of a body": get(f"{path}/x", b"Content-Length: 1", b"Content-Length: 2"),
        "a negative length": get(f"{path}/x", b"Content-Length: -1"),
        "a length that is no number": get(f"{path}/x", b"Content-Length: 1e3"),
        "a length in other digits": get(f"{path}/x", b"Content-Length: \xd9\xa1"),
        "a length of 5000 digits": get(f"{path}/x", b"Content-Length: " + b"9" * 5000),
        "a length and chunks": get(f"{path}/x", b"Content-Length: 0", b"Transfer-Encoding: chunked"),
        "a header without a name": get(f"{path}/x", b": x"),
        "a folded header": get(f"{path}/x", b"X-Name: a", b"\x00 b"),
        "another protocol": raw(b"\x16\x03\x01\x02\x00\r\n\r\n"),
        "a bad host": get(f"{path}/x\r\nHost: [", b"X: y"),
    }
    assert {what: status for what, status in refused.items() if status != 400} == {}
    assert get(f"{path}/" + "a" * 70_000) in (400, 414)
    assert get(f"{path}/" + "a" * 20_000) == 414
    assert get(f"{path}/x?" + "a" * 20_000) == 414
    assert get(f"{path}/x", b"X-Name: " + b"a" * 20_000) == 431
    assert get(f"{path}/x", b"X-Name: " + b"a" * 70_000) in (400, 431)
    assert httpx.get(f"{os.environ['CELLWAVE_EDGE_URL']}{path}/x").status_code == 200
    until("published", lambda: sum(values(aws, api_id, "Count", "Sum")) >= 1)
    for metric, seen in (("Count", 1), ("4xx", 0), ("5xx", 0)):
        assert sum(values(aws, api_id, metric, "Sum")) == seen
