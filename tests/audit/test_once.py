"""What is sent again is stored once: a post by its key, a file by its upload session."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from audit.handlers.common import once
from audit.handlers.common.aws import s3, table
from audit.handlers.ingest import objects
from tests.audit.support import Answer, AuditCell, event

POST = "POST /v1/events"


@pytest.fixture
def key(cell: AuditCell) -> str:
    """The key of acme, whose tenant is t1."""
    cell.key("acme", "t1")
    return cell.key("acme")


def post(cell: AuditCell, key: str, once: str, *events: object) -> Answer:
    """Post events under an Idempotency-Key."""
    return cell.ingest(POST, key, body=list(events), headers={"Idempotency-Key": once})


def indexed() -> list[str]:
    """The ids in the index."""
    return sorted(str(item["eventId"]) for item in table("test-index").scan()["Items"])


def test_a_post_that_comes_again_is_stored_once_and_answered_the_same(cell: AuditCell, key: str) -> None:
    """Under another of the application's keys, too, and in another of the forms of a body."""
    first = post(cell, key, "k1", event(), event())
    assert first.status == 202
    assert post(cell, key, "k1", event(), event()) == first
    again = cell.ingest(
        POST, cell.key("acme"), body={"events": [event(), event()]}, headers={"idempotency-key": "k1"}
    )
    assert again == first
    assert len(cell.landed()) == 1
    cell.process()
    assert post(cell, key, "k1", event(), event()) == first
    assert indexed() == sorted(first.body["eventIds"])


def test_many_at_once_are_one(cell: AuditCell, key: str) -> None:
    """S3 takes one of the puts, and all are answered as that one."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(cell, key, "k1", event(), event(second=1)), range(16)))
    assert {(answer.status, *answer.body["eventIds"]) for answer in answers} == {
        (202, *answers[0].body["eventIds"])
    }
    versions = s3().list_object_versions(Bucket=cell.bucket("landing"))["Versions"]
    assert len(versions) == 1


def test_a_key_with_other_events_is_a_conflict(cell: AuditCell, key: str) -> None:
    """409 takes nothing of it, and the first post stays."""
    first = post(cell, key, "k1", event())
    for other in ([event(second=1)], [event(), event()]):
        refused = post(cell, key, "k1", *other)
        assert (refused.status, refused.code) == (409, "idempotency_conflict")
        assert "another key" in refused.message
    assert post(cell, key, "k1", event()) == first
    assert len(cell.landed()) == 1


def test_a_key_is_its_application_s_own(cell: AuditCell, key: str) -> None:
    """Two applications that use the same one have nothing to do with one another, and a bad post uses none."""
    cell.key("rival", "t1")
    assert post(cell, key, "k1", {**event(), "eventTime": "?"}).status == 400
    assert post(cell, key, "k1", event()).status == 202
    assert post(cell, cell.key("rival"), "k1", event(second=1)).status == 202
    assert {name.split("/")[0] for name in cell.landed()} == {"acme", "rival"}


@pytest.mark.parametrize("once", ["x", "!", "~" * 255, '"a-b"', "../x", "${filename}"])
def test_a_key_is_1_to_255_of_visible_ascii(cell: AuditCell, key: str, once: str) -> None:
    """Whatever it is made of, it names one object of the application's."""
    assert post(cell, key, once, event()).status == 202
    (name,) = cell.landed()
    assert name.startswith("acme/post-")
    assert len(name) < 100


@pytest.mark.parametrize("once", ["", " ", "a b", "~" * 256, "ä", "a\n", "\x7f"], ids=repr)
def test_any_other_key_is_refused(cell: AuditCell, key: str, once: str) -> None:
    """With what would be right; nothing is taken."""
    refused = post(cell, key, once, event())
    assert (refused.status, refused.code) == (400, "invalid_idempotency_key")
    assert "1 to 255 of visible ASCII" in refused.message
    assert cell.landed() == []


def test_without_a_key_two_posts_are_two(cell: AuditCell, key: str) -> None:
    """Equal events may both have happened."""
    told = [cell.ingest(POST, key, body=event()).body["eventIds"] for _ in range(2)]
    cell.process()
    assert indexed() == sorted(identity for ids in told for identity in ids)


def test_s3_is_asked_again_while_it_is_at_that_object(
    cell: AuditCell, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its 409 of two puts at once decides nothing."""
    busy = ClientError({"Error": {"Code": "ConditionalRequestConflict", "Message": ""}}, "PutObject")
    answers: list[Any] = [busy, busy, {}]

    class Busy:
        def put_object(self, **_: object) -> object:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(objects, "s3", Busy)
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert post(cell, key, "k1", event()).status == 202
    answers[:] = [busy] * once.TRIES
    assert post(cell, key, "k1", event()).status == 500


def session(cell: AuditCell, key: str) -> Any:
    """A new upload session."""
    return cell.ingest("GET /applications/session", key).body


def upload(opened: Any, name: str, *lines: object) -> None:
    """Upload lines in a session."""
    content = "".join(f"{json.dumps(line)}\n" for line in lines)
    form = {**opened["form"], "key": name}
    assert httpx.post(opened["uploadUrl"], data=form, files={"file": content.encode()}).status_code == 204


def test_a_file_sent_again_in_its_session_stores_nothing_twice(cell: AuditCell, key: str) -> None:
    """Under its name or another; equal lines of it are events of their own."""
    opened = session(cell, key)
    upload(opened, "acme/a.jsonl", event(), event(), event(second=1))
    cell.process()
    before = cell.archived(), indexed()
    assert len(before[1]) == 3
    for name in ("acme/a.jsonl", "acme/b.jsonl", "acme/x/a.jsonl"):
        upload(opened, name, event(), event(), event(second=1))
    cell.process()
    assert (cell.archived(), indexed()) == before


def test_another_session_stores_a_file_again(cell: AuditCell, key: str) -> None:
    """Whoever opens one means another sending."""
    for _ in range(2):
        upload(session(cell, key), "acme/a.jsonl", event(), event())
        cell.process()
    assert len(indexed()) == 4
    assert sum(map(len, cell.archived().values())) == 4


def test_a_file_with_more_lines_adds_those(cell: AuditCell, key: str) -> None:
    """What grew and is sent again in its session has the ids of before for the lines of before."""
    opened = session(cell, key)
    upload(opened, "acme/a.jsonl", event(), event(second=1))
    upload(opened, "acme/b.jsonl", event(second=2), event(), event(second=1), event())
    cell.process()
    assert len(indexed()) == 4


def test_an_upload_of_the_release_before_keeps_its_ids(cell: AuditCell, key: str) -> None:
    """It has no session: a redelivery after the upgrade changes nothing, and equal files are files of their own."""
    for name in "ab":
        cell.land(f"acme/{name}.jsonl", event(), event())
    cell.process()
    assert indexed() == [  # as that release had made them
        "425dc25120a4ab6fd3ed5d6c44091238",
        "453845b00b6829a34417c6728e34f712",
        "87e51a75c4879b4378f08f66a3b14d53",
        "e7b19cec7d1317dacdbf1c372f091992",
    ]


def test_a_session_can_not_be_chosen(cell: AuditCell, key: str) -> None:
    """S3 takes the form's own value alone, so nobody writes into another's session."""
    one, other = session(cell, key), session(cell, key)
    form = {**one["form"], "x-amz-meta-session": other["form"]["x-amz-meta-session"], "key": "acme/a.jsonl"}
    assert httpx.post(one["uploadUrl"], data=form, files={"file": b"{}"}).status_code == 403
    assert len({opened["form"]["x-amz-meta-session"] for opened in (one, other)}) == 2
