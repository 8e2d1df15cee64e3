"""Events come in by upload sessions and direct posts."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from audit.handlers.common.aws import s3
from audit.handlers.common.events import MAX_EVENTS
from tests.audit.support import AuditCell, event


def upload(answer: Any, key: str, content: bytes) -> httpx.Response:
    """Post a file as the session's form says."""
    return httpx.post(answer["uploadUrl"], data={**answer["form"], "key": key}, files={"file": content})


def test_a_session_uploads_many_times_under_its_own_prefix(cell: AuditCell) -> None:
    """The form of one session is good for any number of objects of the application."""
    answer = cell.ingest("GET /applications/session", cell.key("acme"))
    assert answer.status == 200
    assert set(answer.body) == {"uploadUrl", "form"}
    for name in ("acme/1.jsonl", "acme/2.jsonl"):
        assert upload(answer.body, name, b"{}").status_code == 204
    assert cell.landed() == ["acme/1.jsonl", "acme/2.jsonl"]


@pytest.mark.parametrize(
    ("key", "content"),
    [("other/1.jsonl", b"{}"), ("1.jsonl", b"{}"), ("acme/1.jsonl", b""), ("acme/1.jsonl", b"x" * 10485761)],
    ids=["another's prefix", "no prefix", "empty", "too large"],
)
def test_a_session_uploads_nothing_else(cell: AuditCell, key: str, content: bytes) -> None:
    """Another prefix and a size out of range are refused by the policy."""
    answer = cell.ingest("GET /applications/session", cell.key("acme"))
    assert 400 <= upload(answer.body, key, content).status_code < 500
    assert cell.landed() == []


def test_a_session_lasts_a_quarter_of_an_hour(cell: AuditCell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy names its end; the stack may name another place to upload to."""
    monkeypatch.setenv("UPLOAD_URL", "http://upload.example/landing")
    answer = cell.ingest("GET /applications/session", cell.key("acme"))
    assert answer.body["uploadUrl"] == "http://upload.example/landing"
    policy = json.loads(base64.b64decode(answer.body["form"]["policy"]))
    left = datetime.fromisoformat(policy["expiration"]) - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)
    assert answer.body["form"]["x-amz-algorithm"] == "AWS4-HMAC-SHA256"


WAYS_TO_POST: dict[str, Any] = {
    "one": lambda e: e,
    "a list": lambda e: [e, e],
    "events": lambda e: {"events": [e, e]},
}


@pytest.mark.parametrize("wrap", WAYS_TO_POST.values(), ids=WAYS_TO_POST)
def test_a_direct_post_is_durable_before_it_is_accepted(cell: AuditCell, wrap: Any) -> None:
    """202 says how many, and their ids; the landing bucket holds them as JSON lines under the application's prefix."""
    key = cell.key("acme")
    cell.key("acme", "t1")
    body = wrap(event(tags={"a": "ö"}))
    count = 1 if isinstance(body, dict) and "events" not in body else 2
    answer = cell.ingest("POST /v1/events", key, body=body)
    assert (answer.status, answer.body["accepted"]) == (202, count)
    assert len({*answer.body["eventIds"]}) == count
    (name,) = cell.landed()
    assert name.startswith("acme/")
    assert name.endswith(".jsonl")
    lines = s3().get_object(Bucket=cell.bucket("landing"), Key=name)["Body"].read().splitlines()
    assert [json.loads(line) for line in lines] == [event(tags={"a": "ö"})] * count


def test_the_ids_of_a_post_are_those_its_events_are_read_under(cell: AuditCell) -> None:
    """In the order of the post, in the archive and in a tenant's answer."""
    tenant, key = cell.key("acme", "t1"), cell.key("acme")
    told = cell.ingest("POST /v1/events", key, body=[event(second=n) for n in range(3)]).body["eventIds"]
    cell.process()
    ((_, lines),) = cell.archived().items()
    assert [line["eventId"] for line in lines] == told
    assert [found["eventId"] for found in cell.search(tenant).body["events"]] == told[::-1]


def test_a_wrong_event_names_index_field_and_what_would_be_right(cell: AuditCell) -> None:
    """400 lists every problem; none of the post is accepted."""
    key = cell.key("acme")
    cell.key("acme", "t1")
    answer = cell.ingest(
        "POST /v1/events", key, body={"events": [event(), event(eventTime="yesterday", tags="red")]}
    )
    assert (answer.status, answer.code) == (400, "invalid_events")
    assert "events[1].eventTime" in answer.message
    assert '"yesterday"' in answer.message
    assert "RFC 3339" in answer.message
    details = [(detail["index"], detail["field"]) for detail in answer.body["error"]["details"]]
    assert details == [(1, "eventTime"), (1, "tags")]
    assert cell.landed() == []


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        "3",
        "[3]",
        "[[]]",
        '{"events": []}',
        '{"events": {}}',
        '{"events": [], "more": 1}',
        "NaN",
        '{"a":' * 5000,
    ],
)
def test_a_body_that_holds_no_events_is_refused(cell: AuditCell, body: str) -> None:
    """400 with a reason, whatever the client sent."""
    answer = cell.ingest("POST /v1/events", cell.key("acme"), body=body)
    assert answer.status == 400
    assert cell.landed() == []


def test_a_number_lies_in_the_digits_that_were_sent(cell: AuditCell) -> None:
    """One that Python has no number for, too."""
    cell.key("acme", "t1")
    body = json.dumps(event(eventDetails={"n": 0})).replace('"n": 0', '"n": [1e999, -0, 0.40000000000000002]')
    assert cell.ingest("POST /v1/events", cell.key("acme"), body=body).status == 202
    (name,) = cell.landed()
    assert s3().get_object(Bucket=cell.bucket("landing"), Key=name)["Body"].read().decode() == f"{body}\n"


def test_a_post_holds_a_thousand_events_at_most(cell: AuditCell) -> None:
    """1,000 are accepted, 1,001 are refused with their number."""
    key = cell.key("acme")
    cell.key("acme", "t1")
    assert cell.ingest("POST /v1/events", key, body={"events": [event()] * MAX_EVENTS}).status == 202
    answer = cell.ingest("POST /v1/events", key, body={"events": [event()] * (MAX_EVENTS + 1)})
    assert answer.status == 400
    assert "1001" in answer.message


def test_who_is_not_registered_is_told_to_wait(cell: AuditCell) -> None:
    """In a post of any number of tenants; another application's tenant of that name is none of this one's."""
    key = cell.key("acme")
    cell.key("acme", "t1")
    cell.key("rival", "t2")
    answer = cell.ingest("POST /v1/events", key, body=[event("t3"), event(), event("t2"), event("t3")])
    assert (answer.status, answer.body["accepted"], answer.body["waiting"]) == (202, 4, ["t2", "t3"])
    assert cell.ingest("POST /v1/events", key, body=event()).body["waiting"] == []


def test_a_failure_of_the_service_says_no_more_than_that(
    cell: AuditCell, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 in the same shape; the reason is in the log only."""
    key = cell.key("acme")
    cell.key("acme", "t1")
    monkeypatch.setenv("LANDING_BUCKET", "there-is-no-such-bucket")
    answer = cell.ingest("POST /v1/events", key, body=event())
    assert (answer.status, answer.code) == (500, "internal")
    assert "bucket" not in answer.message
    assert "NoSuchBucket" in caplog.text
    assert key not in caplog.text
