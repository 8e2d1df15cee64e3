"""What a destination is sent is what its own documentation asks for, and its answer is taken as it is meant."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.handlers.common import aws
from audit.handlers.stream import wire
from audit.handlers.stream.destinations import Kind
from audit.handlers.stream.health import Failure, Health
from audit.handlers.stream.wire import Batch, To, deliver
from tests.audit.receivers import HOSTS, Got, Receiver, certificate, receiving
from tests.audit.support import REGION, AuditCell
from tests.audit.test_properties import events

NOW = 1_740_000_000.0
LINES = [
    json.dumps(
        {"eventId": str(n), "tenantId": "t1", "eventTime": f"2025-02-19T21:20:0{n}.25Z", "eventName": "a\nb"}
    )
    for n in range(3)
]
BATCH = Batch("st-1", 7, 10, [line.encode() for line in LINES])
TOKEN = "0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate."""
    return certificate(tmp_path_factory.mktemp("receiver"))


@pytest.fixture
def receiver(pem: Path) -> Iterator[Receiver]:
    """A destination on this machine."""
    with receiving(pem) as made:
        yield made


def sent(receiver: Receiver, kind: Kind, secret: str = TOKEN, **told: str) -> Failure | None:
    """What becomes of a batch that is sent there."""
    return deliver(kind, To(told, secret, "", receiver.network(), NOW), BATCH)


def example() -> Callable[..., bool]:
    """What docs/audit.md tells receivers to verify by."""
    text = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    found: Callable[..., bool] = names["genuine"]
    return found


def test_what_https_gets_is_verified_by_the_documented_example(receiver: Receiver) -> None:
    """And nothing else is: another body, id, time or secret, or one that is five minutes old."""
    assert sent(receiver, "https", SECRET, url=f"https://{HOSTS[0]}/hook") is None
    (got,) = receiver.got
    assert json.loads(got.body) == [json.loads(line) for line in LINES]
    assert got.headers["webhook-id"] == "st-1.7-10"
    genuine = example()
    assert genuine(SECRET, got.headers, got.body, NOW + 299)
    assert not genuine(SECRET, got.headers, got.body, NOW + 301)
    assert not genuine(SECRET, got.headers, got.body + b" ", NOW)
    assert not genuine("whsec_" + base64.b64encode(b"x" * 32).decode(), got.headers, got.body, NOW)
    for name in ("webhook-id", "webhook-timestamp"):
        assert not genuine(SECRET, {**got.headers, name: f"{int(NOW) + 1}"}, got.body, NOW)


def test_a_signature_is_that_of_standard_webhooks() -> None:
    """The example of its specification's libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    found = wire.signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("status", "final"),
    [(400, False), (401, True), (403, True), (404, True), (410, True), (408, False), (429, False), (500, False),
     (503, False), (301, True), (307, True)],
)  # fmt: skip
def test_an_answer_other_than_2xx_is_no_yes(receiver: Receiver, status: int, final: bool) -> None:
    """What says that it is of no use to come again is told from what may pass."""
    receiver.answer = lambda _: (status, {"location": "https://127.0.0.1/"}, b"why")
    failure = sent(receiver, "https", SECRET, url=f"https://{HOSTS[0]}/")
    assert failure is not None
    assert failure.final == final
    assert failure.error.startswith(f"answered {status}: ")
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("Wed, 19 Feb 2025 21:22:00 GMT", 120.0),
        ("Wed, 19 Feb 2020 21:22:00 GMT", 0.0),
        ("soon", 0.0),
        ("-1", 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(receiver: Receiver, text: str, seconds: float) -> None:
    """Anything else is none."""
    receiver.answer = lambda _: (503, {"Retry-After": text}, b"")
    failure = sent(receiver, "https", SECRET, url=f"https://{HOSTS[0]}/")
    assert failure is not None
    assert failure.wait == seconds
    assert datetime.fromtimestamp(NOW, UTC).isoformat() == "2025-02-19T21:20:00+00:00"


class Splunk:
    """An HTTP Event Collector, as Splunk documents it: it answers codes, and takes objects that follow each other."""

    def __init__(self, code: int = 0, status: int = 200) -> None:
        self.code, self.status, self.events = code, status, list[dict[str, Any]]()

    def __call__(self, got: Got) -> tuple[int, Mapping[str, str], bytes]:
        """Answer a request."""
        if got.headers.get("authorization") != f"Splunk {TOKEN}":
            return 403, {}, b'{"text": "Invalid token", "code": 4}'
        if got.path != "/services/collector/event":
            return 404, {}, b""
        uuid.UUID(got.headers["x-splunk-request-channel"])
        text, decoder = got.body.decode(), json.JSONDecoder()
        while text := text.strip():
            event, end = decoder.raw_decode(text)
            text = text[end:]
            if "event" not in event:
                return 400, {}, b'{"text": "Event field is required", "code": 12}'
            self.events.append(event)
        return self.status, {}, json.dumps({"text": "said", "code": self.code}).encode()


@pytest.mark.parametrize("url", ["https://splunk.example", "https://splunk.example/services/collector/event"])
def test_splunk_gets_events_as_its_collector_takes_them(receiver: Receiver, url: str) -> None:
    """With the time of each, and one channel a stream."""
    splunk = Splunk()
    receiver.answer = splunk
    assert sent(receiver, "splunk", url=url) is None
    assert [one["event"] for one in splunk.events] == [json.loads(line) for line in LINES]
    assert [one["time"] for one in splunk.events] == [NOW + n + 0.25 for n in range(3)]
    assert {one["sourcetype"] for one in splunk.events} == {"cellwave:audit"}


@pytest.mark.parametrize(
    ("status", "code", "final"),
    [(200, 9, False), (403, 4, True), (401, 2, True), (400, 6, False), (500, 8, False), (503, 9, False)],
)
def test_splunk_says_yes_by_code_0_alone(receiver: Receiver, status: int, code: int, final: bool) -> None:
    """Whatever the status."""
    receiver.answer = Splunk(code, status)
    failure = sent(receiver, "splunk", url="https://splunk.example")
    assert failure is not None
    assert failure.final == final
    assert f'"code": {code}' in failure.error


@given(events)
def test_every_event_has_a_time_that_splunk_takes(event: dict[str, Any]) -> None:
    """Seconds since 1970; the event is as it was archived."""
    line = json.dumps({"eventId": "0" * 32, **event})
    found = json.loads(wire._for_splunk(line.encode()))
    assert found["event"] == json.loads(line)
    assert isinstance(found["time"], float)


def page(body: bytes, _: Got) -> tuple[int, Mapping[str, str], bytes]:
    """200 with that body."""
    return 200, {}, body


def test_another_s_200_is_no_yes_of_splunk_s(receiver: Receiver) -> None:
    """A page of a proxy's, say."""
    for body in (b"<html>", b"[]", b""):
        receiver.answer = partial(page, body)
        failure = sent(receiver, "splunk", url="https://splunk.example")
        assert failure is not None
        assert "without code 0" in failure.error


def test_a_token_that_splunk_does_not_know_is_a_refusal(receiver: Receiver) -> None:
    """And is not told."""
    receiver.answer = Splunk()
    failure = sent(receiver, "splunk", secret="wrong-token", url="https://splunk.example")
    assert failure == Failure('answered 403: {"text": "Invalid token", "code": 4}', final=True)


def datadog(got: Got) -> tuple[int, Mapping[str, str], bytes]:
    """The intake of logs as Datadog documents it: an array of at most 1,000, of 5 MB, each with a message of 1 MB."""
    if got.headers.get("dd-api-key") != TOKEN:
        return 403, {}, b'{"errors": [{"status": "403", "title": "Forbidden"}]}'
    entries = json.loads(got.body)
    right = isinstance(entries, list) and len(entries) <= 1000 and len(got.body) <= 5 << 20
    if not right or any(len(one["message"]) > 1 << 20 for one in entries):
        return 413, {}, b""
    return (202, {}, b"{}") if got.path == "/api/v2/logs" else (404, {}, b"")


def test_datadog_gets_an_array_of_logs(receiver: Receiver) -> None:
    """At its site's intake, each event as a message of JSON."""
    receiver.answer = datadog
    assert sent(receiver, "datadog", site="datadoghq.eu") is None
    (got,) = receiver.got
    assert got.headers["host"] == "http-intake.logs.datadoghq.eu"
    assert [one["message"] for one in json.loads(got.body)] == LINES
    assert {(one["ddsource"], one["service"]) for one in json.loads(got.body)} == {
        ("cellwave-audit", "audit")
    }


@pytest.mark.parametrize(
    ("status", "final", "too_large"),
    [(200, False, False), (400, False, False), (403, True, False), (413, False, True), (429, False, False)],
)
def test_datadog_says_yes_by_202_alone(receiver: Receiver, status: int, final: bool, too_large: bool) -> None:
    """Whatever else it answers."""
    receiver.answer = lambda _: (status, {}, b"{}")
    failure = sent(receiver, "datadog", site="datadoghq.eu")
    assert failure is not None
    assert (failure.final, failure.too_large) == (final, too_large)


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (503, {"retry-after": "Mon, 01 Jan 99999999999999 00:00:00 GMT"}, b""),
        (200, {}, b"[" * 60_000),
    ],
    ids=["a year that no calendar has", "nested without an end"],
)
def test_no_answer_is_more_than_its_stream_s_failure(
    receiver: Receiver, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """Or a destination could have the function fail, and a release turned round."""
    receiver.answer = lambda _: (status, headers, body)
    failure = sent(receiver, "splunk", url=f"https://{HOSTS[1]}")
    assert failure is not None
    assert (failure.final, failure.wait) == (False, 0.0)


@given(st.integers(0, 400))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_part_of_a_secret_is_kept_of_an_answer(receiver: Receiver, before: int) -> None:
    """Wherever in its answer a destination says it."""
    receiver.answer = lambda _: (400, {}, b"-" * before + TOKEN.encode())
    failure = sent(receiver, "splunk", url=f"https://{HOSTS[1]}")
    assert failure is not None
    kept = Health().failed(failure, NOW, 0.0).error
    assert TOKEN[:4] not in kept


ROLE = "arn:aws:iam::{}:role/audit"
EXTERNAL = "audit-0123"


@pytest.fixture
def bucket(cell: AuditCell, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """A tenant's bucket in another account, and an STS that asks for the external id, as a role's trust does."""
    account = str(int(cell.account) + 50_000)
    there = boto3.client("s3", aws_access_key_id=account, aws_secret_access_key="x", region_name=REGION)
    there.create_bucket(Bucket=f"theirs-{account}", CreateBucketConfiguration={"LocationConstraint": REGION})
    made = boto3.client

    def client(service: str, **how: Any) -> Any:
        found: Any = made(service, **how)  # type: ignore[call-overload]
        if service == "sts":
            whole = found.assume_role

            def assume(**asked: Any) -> Any:
                assert asked["RoleArn"] == ROLE.format(account)
                if asked.get("ExternalId") != EXTERNAL:
                    said = {"Error": {"Code": "AccessDenied", "Message": "is not authorized"}}
                    raise aws_error({**said, "ResponseMetadata": {"HTTPStatusCode": 403}})
                return whole(**asked)

            found.assume_role = assume
        return found

    monkeypatch.setattr(boto3, "client", client)
    aws.forget()
    told = {
        "bucket": f"theirs-{account}",
        "prefix": "audit/",
        "region": REGION,
        "roleArn": ROLE.format(account),
    }
    return {**told, "account": account}


def aws_error(response: Any) -> Exception:
    """As botocore raises it."""
    from botocore.exceptions import ClientError

    return ClientError(response, "AssumeRole")


def test_s3_gets_an_object_by_the_tenant_s_own_role(bucket: Mapping[str, str], receiver: Receiver) -> None:
    """Named by the first position: the same again, or more of it, lies in its place. A test has a name of its own."""
    to = To(bucket, "", EXTERNAL, receiver.network(), NOW)
    longer = Batch("st-1", 7, 11, [*BATCH.lines, b"{}"])
    for batch in (Batch("st-1", 7, 7, [b"{}"], test=True), BATCH, longer):
        assert deliver("s3", to, batch) is None
    there = boto3.client(
        "s3", aws_access_key_id=bucket["account"], aws_secret_access_key="x", region_name=REGION
    )
    keys = [one["Key"] for one in there.list_objects_v2(Bucket=bucket["bucket"])["Contents"]]
    assert keys == ["audit/st-1/000000000000007.jsonl", "audit/st-1/test.jsonl"]
    body = there.get_object(Bucket=bucket["bucket"], Key=keys[0])["Body"].read()
    assert body.splitlines() == longer.lines


def test_a_role_that_asks_for_another_external_id_is_a_refusal(
    bucket: Mapping[str, str], receiver: Receiver
) -> None:
    """So is a bucket that is not there: whoever named them has to mend it."""
    to = To(bucket, "", "another", receiver.network(), NOW)
    failure = deliver("s3", to, BATCH)
    assert failure == Failure("AssumeRole: AccessDenied: is not authorized", final=True)
    nowhere = {**bucket, "bucket": "nobody-s-bucket-at-all"}
    failure = deliver("s3", To(nowhere, "", EXTERNAL, receiver.network(), NOW), BATCH)
    assert failure is not None
    assert (failure.final, failure.error.startswith("PutObject: NoSuchBucket")) == (True, True)


def test_a_mac_is_made_over_the_time_too() -> None:
    """Or what was caught could be sent again for ever."""
    key = base64.b64encode(b"k").decode()
    mac = hmac.new(b"k", b"a.5.b", hashlib.sha256).digest()
    assert wire.signature(f"whsec_{key}", "a", 5, b"b") == f"v1,{base64.b64encode(mac).decode()}"
