"""What is taken in, and that it comes back: from a post, an upload and a key to the archive and the answer."""

from __future__ import annotations

import base64
import json
import string
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit import cli
from audit.handlers.common.aws import on_stage
from audit.handlers.common.directory import OBJECT, Copy, authenticate, copied_to
from audit.handlers.common.events import problems
from audit.handlers.common.exact import write
from audit.handlers.common.http import Request, parse_json
from audit.handlers.common.index import event_of, partition
from audit.handlers.common.rehearsal import APPLICATION, TENANT, Stage
from audit.handlers.ingest import processor, session
from audit.handlers.ingest.landed import LONGEST_NAME
from audit.handlers.query import api
from cellwave.errors import BadInput
from tests.audit.support import event

SETTINGS = {
    "CELL": "eu-1",
    "CONFIG_BUCKET": "config",
    "LANDING_BUCKET": "landing",
    "ARCHIVE_BUCKET": "archive",
    "INDEX_TABLE": "index",
    "LIMITS_TABLE": "limits",
    "LIMIT_REQUESTS": "100",
    "TRIES": "1",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_DEFAULT_REGION": "eu-west-1",
}
ITEM = ("pk", "sk", "eventId", "eventName", "event")
NO_TENANTS = ["", " ", "a b", "a/b", "a,b", "a#b", "a:b", "..", ".a", "ä", "²", "a\n", "a" * 129]
tenants = st.text(string.ascii_letters + string.digits + "_-+=", min_size=1, max_size=128)


@contextmanager
def staged(tenant: str = TENANT) -> Iterator[Stage]:
    """S3 and DynamoDB in memory, and a directory of one application with that tenant."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        stage = Stage()
        place = (SETTINGS["CONFIG_BUCKET"], OBJECT)
        known = json.loads(stage.objects[place][0])
        found = known["applications"][APPLICATION]
        found["tenants"] = [tenant]
        found["keys"][1]["tenantId"] = tenant
        stage.objects[place] = (json.dumps(known).encode(), {})
        with on_stage(stage), copied_to(Copy()):
            yield stage


def upload(stage: Stage, content: bytes) -> None:
    """Let an object lie in the landing bucket."""
    stage.put_object(Bucket="landing", Key=f"{APPLICATION}/upload.jsonl", Body=content)


def process(stage: Stage) -> dict[str, bytes]:
    """Process all that landed; the archive's objects."""
    names = [key for bucket, key in stage.objects if bucket == "landing"]
    records = [
        {"s3": {"bucket": {"name": "landing"}, "object": {"key": name, "versionId": "1"}}} for name in names
    ]
    message = {"messageId": "m", "body": json.dumps({"Records": records})}
    assert processor.handler({"Records": [message]}, None) == {"batchItemFailures": []}
    stage.items = [dict(zip(ITEM, values, strict=False)) for values in stage.items]
    return {key: body for (bucket, key), (body, _) in stage.objects.items() if bucket == "archive"}


def read(stage: Stage, **query: object) -> list[dict[str, Any]]:
    """The events that a tenant reads, without their ids."""
    found: list[dict[str, Any]] = stage.ask(api.handler, "GET /v1/events", stage.tenant, **query)["events"]
    for one in found:
        assert len(one.pop("eventId")) == 32
    return found


@settings(max_examples=30, deadline=None)
@given(tenants)
def test_any_tenant_writes_by_posts_and_uploads_and_reads_its_own(tenant: str) -> None:
    """Whatever its id is made of: it is a folder, a partition and a parameter of its own."""
    with staged(tenant) as stage:
        sent = event(tenant)
        stage.ask(session.handler, "POST /v1/events", stage.application, sent)
        upload(stage, json.dumps(sent).encode())
        assert {tuple(key.split("/")[:2]) for key in process(stage)} == {(APPLICATION, tenant)}
        assert {item["pk"] for item in stage.items} == {f"{APPLICATION}#{tenant}"}
        assert read(stage, tenantId=tenant) == [sent, sent]


holders = st.tuples(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True), tenants)


@given(holders, holders)
def test_no_two_tenants_share_a_place_or_a_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    """What separates ids is in none: in the index, in the archive, in a credential; and a name fits there."""
    for holder in (one, other):
        assert cli.holder("/".join(holder)) == holder
        assert [tuple("#".join(holder).split("#")), tuple(",".join(holder).split(","))] == [holder, holder]
    assert (partition(*one) == partition(*other)) == (one == other)
    longest = 64 + 1 + 128 + len("/2025/01/01/") + LONGEST_NAME + len(".0123456789abcdef.jsonl.jsonl")
    assert longest <= 1024


@pytest.mark.parametrize("tenant", ["a+b=", "_x", "-", "=", "+", "a" * 65, "a" * 128, "once.registered"])
def test_what_is_a_tenant_is_one_in_events_and_for_keys(tenant: str) -> None:
    """One rule; a dot was allowed once, and who is registered with one writes on."""
    assert problems(event(tenant)) == []
    assert cli.holder(f"acme/{tenant}") == ("acme", tenant)


@pytest.mark.parametrize("tenant", NO_TENANTS, ids=repr)
def test_what_is_no_tenant_is_none_in_events_and_for_keys(tenant: str) -> None:
    """And what would be right is said."""
    (problem,) = problems({**event(), "tenantId": tenant})
    assert (problem.field, problem.expected) == ("tenantId", "1 to 128 of A-Z a-z 0-9 _ - + =")
    with pytest.raises(BadInput, match="found the tenant") as refused:
        cli.holder(f"acme/{tenant}")
    assert refused.value.expected == problem.expected


@given(tenants)
def test_a_plus_that_a_client_did_not_encode_is_one(tenant: str) -> None:
    """Neither an id nor a time holds a blank, so nothing else can be meant."""
    with staged(tenant) as stage:
        request = {"tenantId": tenant.replace("+", " "), "from_": "2025-03-01T10:00:00 01:00"}
        assert stage.ask(api.handler, "GET /v1/events", stage.tenant, **request)["events"] == []


@pytest.mark.parametrize("empty", [None, "", [], {}], ids=repr)
@pytest.mark.parametrize(
    "name", ["actor", "resources", "context", "eventDetails", "tags", "anything", "events"]
)
def test_what_is_optional_may_be_empty_and_comes_back_so(name: str, empty: object) -> None:
    """In whatever way a client says that there is nothing."""
    with staged() as stage:
        sent = {**event(TENANT), name: empty}
        stage.ask(session.handler, "POST /v1/events", stage.application, sent)
        process(stage)
        assert read(stage) == [sent]


@pytest.mark.parametrize("value", ["mine", None, ""], ids=repr)
def test_an_id_is_the_service_s_to_give(value: object) -> None:
    """A client's would be lost, or take the place of the service's."""
    assert [problem.field for problem in problems(event(eventId=value))] == ["eventId"]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_key_is_taken_without_its_padding(length: int) -> None:
    """Whatever its length, and with the padding too."""
    with staged() as stage:
        stage.tenant = stage.tenant + "x" * length
        known = json.loads(stage.objects["config", OBJECT][0])
        known["applications"][APPLICATION]["keys"][1]["hash"] = sha256(stage.tenant.encode()).hexdigest()
        stage.objects["config", OBJECT] = (json.dumps(known).encode(), {})
        key = base64.b64encode(stage.tenant.encode()).decode()
        for given_key in (key, key.rstrip("=")):
            request = Request("GET", "/", {"authorization": f"Bearer {given_key}"}, (), b"")
            assert authenticate(request, "tenant", "read").tenant == TENANT


LINE = json.dumps(event(TENANT))
NO_JSON = {
    "a name twice": LINE.replace("{", '{"eventName": "logout", ').encode(),
    "a name twice within": LINE.replace("{", '{"tags": {"a": "1", "\\u0061": "2"}, ').encode(),
    "no UTF-8": LINE.replace("login", "lögin").encode("latin-1"),
    "an overlong form": LINE.encode().replace(b"login", b"l\xc0\xafgin"),
    "half of a pair": LINE.encode().replace(b"login", b"l\xed\xa0\x80gin"),
    "half of a pair, escaped": LINE.replace("login", "l\\ud800gin").encode(),
    "another order": LINE.encode("utf-16"),
}


def post(stage: Stage, content: bytes, coding: str) -> int:
    """Post bytes as the API hands them on, by the content type: as base64, as its text, as Python has bad bytes."""
    text, length = content.decode(errors="replace"), str(len(content))
    if coding == "base64":
        text = base64.b64encode(content).decode()
    if coding == "surrogates":
        text = content.decode(errors="surrogateescape")
    key = base64.b64encode(stage.application.encode()).decode()
    asked = {
        "rawPath": "/v1/events",
        "headers": {"Authorization": f"Bearer {key}", "Content-Length": length},
        "requestContext": {"http": {"method": "POST"}},
        "isBase64Encoded": coding == "base64",
        "body": text,
    }
    return int(str(session.handler(asked, None)["statusCode"]))


@pytest.mark.parametrize("coding", ["base64", "text", "surrogates"])
@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON)
def test_what_could_be_read_in_two_ways_is_refused_as_a_post(content: bytes, coding: str) -> None:
    """Nothing of it lies in the landing bucket."""
    with staged() as stage:
        assert post(stage, content, coding) == 400
        assert not [key for bucket, key in stage.objects if bucket == "landing"]


@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON)
def test_what_could_be_read_in_two_ways_is_refused_in_an_upload(content: bytes) -> None:
    """It lies among what was rejected, and the line before it is archived."""
    with staged() as stage:
        upload(stage, LINE.encode() + b"\n" + content)
        assert sorted(key.split("/")[0] for key in process(stage)) == ["_rejected", APPLICATION]
        assert len(read(stage)) == 1


@pytest.mark.parametrize("coding", ["base64", "text"])
def test_a_byte_order_mark_is_skipped(coding: str) -> None:
    """Before a post, before an upload, and before nothing; what is U+FFFD in earnest is text like any other."""
    with staged() as stage:
        sent = event(TENANT, eventName="\ufffd")
        line = json.dumps(sent, ensure_ascii=False).encode()
        assert post(stage, BOM_UTF8 + line, coding) == 202
        upload(stage, BOM_UTF8 + line + b"\r\n" + BOM_UTF8 + b"\n" + line)
        assert all(key.startswith(APPLICATION) for key in process(stage))
        assert read(stage) == [sent] * 3


digits = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)


@given(digits)
@example("0.40000000000000002")
@example("1E2")
@example("-0")
@example("-0.0")
@example("1e999")
@example("1.0")
@example("9" * 5000)
def test_a_number_is_written_in_the_digits_it_was_read_in(number: str) -> None:
    """Alone, in a list and under a name, beside whatever else."""
    text = f'{{"a": [{number}, true, null, "1E2", {{"b": {number}, "ä": []}}]}}'.replace("ä", "\\u00e4")
    assert write(parse_json(text.encode())) == text
    assert write(parse_json(number.encode())) == number


@settings(max_examples=20, deadline=None)
@given(st.lists(digits, min_size=1, max_size=4))
def test_numbers_come_back_digit_by_digit_from_posts_and_uploads(numbers: list[str]) -> None:
    """In the archive, in the index and in the answer."""
    details = f'{{"n": [{", ".join(numbers)}]}}'
    line = f'{LINE[:-1]}, "eventDetails": {details}, "more": {numbers[0]}}}'
    with staged() as stage:
        assert post(stage, line.encode(), "text") == 202
        upload(stage, line.encode())
        for content in process(stage).values():
            assert content.decode().endswith(f"{line[1:]}\n")
        assert [item["event"] for item in stage.items] == [line, line]
        key = base64.b64encode(stage.tenant.encode()).decode()
        asked = {
            "rawPath": "/v1/events",
            "headers": {"authorization": f"Bearer {key}"},
            "requestContext": {"http": {"method": "GET"}},
        }
        assert str(api.handler(asked, None)["body"]).count(line[1:]) == 2


@given(st.recursive(st.none() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_what_was_stored_before_is_read_as_it_was(value: object) -> None:
    """And its numbers are written as they are stored."""
    stored = json.dumps({"eventDetails": {"x": value}})
    assert write(event_of({"eventId": "id", "event": stored})) == f'{{"eventId": "id", {stored[1:]}'


def test_a_number_is_no_text() -> None:
    """However it was read."""
    for number in ("1E2", "2", "-0"):
        wrong = parse_json(LINE.replace('"login"', number).encode())
        assert [(found.field, found.found) for found in problems(wrong)] == [("eventName", number)]
