"""Whose account a request is served in is the edge's to say: nothing that a client sends has a part in it."""

from __future__ import annotations

import os
import socket
from urllib.parse import quote, urlsplit

import boto3
import httpx
import pytest
from botocore.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellwave.project import Project
from cellwave.sandbox.edge.envelope import PREFIX, opened, sealed

from .aws import http_api, session
from .test_edge import HANDLER

ACCOUNT, OTHER, REGION = "200000000913", "200000000914", "eu-west-1"
SCOPES = st.builds(
    "{}/20250101/{}/{}/aws4_request".format,
    st.sampled_from([OTHER, ACCOUNT, "999999999999", "000000000000", "AKIA2", "ASIA2", ""]),
    st.sampled_from([REGION, "us-east-1", "*"]),
    st.sampled_from(["execute-api", "s3", "iam"]),
)
# Each way in which AWS, or the emulator, may be told who asks, as a header's name and value.
HEADERS = st.one_of(
    SCOPES.map(
        lambda s: ("Authorization", f"AWS4-HMAC-SHA256 Credential={s}, SignedHeaders=host, Signature=0")
    ),
    SCOPES.map(lambda s: ("Authorization", f"AWS4-ECDSA-P256-SHA256 Credential={s}")),
    SCOPES.map(lambda s: ("Authorization", f"AWS {s}")),
    SCOPES.map(lambda s: ("Authorization", f"Bearer {s}")),
    SCOPES.map(lambda s: ("X-Amz-Credential", s)),
    SCOPES.map(lambda s: ("X-Amz-Security-Token", s)),
    SCOPES.map(lambda s: (f"{PREFIX}Authorization", f"AWS4-HMAC-SHA256 Credential={s}")),
    st.sampled_from(
        [
            ("X-Amz-Target", "AmazonSSM.GetParameter"),
            ("X-Amz-Region-Set", "us-east-1"),
            ("X-Amz-Account-Id", OTHER),
            ("X-Amz-Source-Account", OTHER),
            ("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            ("X-Forwarded-Host", f"bucket.s3.{REGION}.amazonaws.com"),
            ("X-Original-Url", f"/_api/{OTHER}/{REGION}/x"),
            ("Forwarded", "host=elsewhere.example"),
        ]
    ),
)
QUERIES = st.one_of(
    st.tuples(st.sampled_from(["X-Amz-Credential", "x-amz-credential", "AWSAccessKeyId", "Action"]), SCOPES),
    st.just(("X-Amz-Algorithm", "AWS4-HMAC-SHA256")),
    st.just(("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256")),
    st.just(("X-Amz-Region-Set", "us-east-1")),
)
CASES = st.sampled_from([str.lower, str.upper, str.title])
HOSTS = st.sampled_from(
    [
        "edge",
        "EDGE:1",
        "127.0.0.1",
        "[::1]:80",
        f"bucket.s3.{REGION}.amazonaws.com",
        "abcdef12.execute-api.localhost",
        "events.us.audit.example",
    ]
)


@pytest.fixture(scope="module")
def path(sandbox: Project) -> str:
    """The path of an API that tells its account."""
    api_id = http_api(session(ACCOUNT, REGION), "told", HANDLER)
    return f"/_api/{ACCOUNT}/{REGION}/{api_id}/x"


def ask(request: str) -> httpx.Response:
    """What the edge answers to these very bytes."""
    edge = urlsplit(os.environ["CELLWAVE_EDGE_URL"])
    with socket.create_connection((edge.hostname, edge.port), timeout=60) as wire:
        wire.sendall(request.encode())
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
    head, _, body = answer.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    return httpx.Response(
        int(first.split(" ", 2)[1]), headers=dict(line.split(": ", 1) for line in lines), text=body
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "DELETE"]),
    headers=st.lists(
        st.builds(lambda header, case: (case(header[0]), header[1]), HEADERS, CASES),
        max_size=4,
    ),
    query=st.lists(QUERIES, max_size=3),
    host=HOSTS,
    form=st.sampled_from(["", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"]),
)
def test_a_client_does_not_choose_the_account(
    path: str,
    *,
    method: str,
    headers: list[tuple[str, str]],
    query: list[tuple[str, str]],
    host: str,
    form: str,
) -> None:
    """The API's own account answers whatever was sent, and its handler sees just that."""
    asked = "&".join(f"{name}={quote(value)}" for name, value in query)
    body = f"X-Amz-Credential={OTHER}/20250101/{REGION}/execute-api/aws4_request&AWSAccessKeyId={OTHER}"
    body = body if method == "POST" else ""
    lines = [f"{method} {path}?{asked} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [f"Content-Type: {form}"] * bool(form) + [f"Content-Length: {len(body)}"] * bool(body)
    answer = ask("\r\n".join([*lines, "", body]))
    assert (answer.status_code, answer.headers["x-account"]) == (200, ACCOUNT)
    if method != "HEAD":
        told = answer.json()
        assert told["rawQueryString"] == asked
        assert told["headers"]["host"] == host
        for name in {name.lower() for name, _ in headers}:
            sent = [value for other, value in headers if other.lower() == name]
            assert told["headers"][name] == ",".join(sent)


def test_no_host_or_target_names_another_api(path: str) -> None:
    """An absolute target is refused, and an account in the path is the one that is asked: it has no such API."""
    for target in (
        f"http://127.0.0.1{path}",
        f"HTTP://elsewhere.example{path}",
        f"//elsewhere.example{path}",
    ):
        answer = ask(f"GET {target} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
        assert answer.status_code in (400, 404)
    other = path.replace(ACCOUNT, OTHER)
    scope = f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20250101/{REGION}/execute-api/aws4_request"
    answer = httpx.get(f"{os.environ['CELLWAVE_EDGE_URL']}{other}", headers={"Authorization": scope})
    assert answer.status_code == 404


def test_a_form_of_another_account_opens_no_bucket(sandbox: Project) -> None:
    """Validly signed, for this very bucket, and refused as S3 refuses it; so is an own form that names the other."""
    aws = session(ACCOUNT, REGION)
    bucket, where = f"uploads-{ACCOUNT}", {"LocationConstraint": REGION}
    aws.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)  # type: ignore[arg-type]

    def form(by: boto3.Session) -> dict[str, str]:
        s3 = by.client("s3", config=Config(signature_version="s3v4"))
        return dict(s3.generate_presigned_post(bucket, "key", ExpiresIn=60)["fields"])

    def post(fields: dict[str, str], **headers: str) -> httpx.Response:
        url = f"{os.environ['CELLWAVE_EDGE_URL']}/_upload/{bucket}?X-Amz-Credential={ACCOUNT}%2Fx"
        return httpx.post(url, data=fields, files={"file": b"{}"}, headers=headers)

    own = form(aws)
    foreign = form(session(OTHER, REGION))
    owners = f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20250101/{REGION}/s3/aws4_request"
    for refused in (
        post(foreign),
        post(foreign, Authorization=owners),
        post({**own, "x-amz-credential": own["x-amz-credential"].replace(ACCOUNT, OTHER)}),
    ):
        assert refused.status_code == 403
        assert "<Code>AccessDenied</Code>" in refused.text
    assert "Contents" not in aws.client("s3").list_objects_v2(Bucket=bucket)
    assert post(own, Authorization=owners.replace(ACCOUNT, OTHER)).status_code == 204


@given(st.lists(st.tuples(st.from_regex(r"[a-z][a-z-]{0,10}", fullmatch=True), st.text("ab ,="))))
def test_the_envelope_is_opened_as_it_was_sealed(headers: list[tuple[str, str]]) -> None:
    """Every header comes out under its own name; in between none is one that the emulator reads."""
    inside = sealed(ACCOUNT, REGION, headers)
    assert [name for name in inside if not name.startswith(PREFIX)] == ["authorization"]
    assert ACCOUNT in inside["authorization"]
    if headers:
        assert opened(inside).keys() == {name for name, _ in headers}
    assert opened({"host": "emulator"}) == {"host": "emulator"}
