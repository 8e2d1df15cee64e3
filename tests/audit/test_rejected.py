"""An application sees what was rejected of it, and has it put through again."""

from __future__ import annotations

import base64
import codecs
import gzip
import json
import re
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.handlers.common.aws import s3, table
from audit.handlers.common.events import MAX_EVENTS, MAX_UPLOAD_BYTES
from audit.handlers.common.rehearsal import APPLICATION
from audit.handlers.ingest import lines, processor, rejected, session
from audit.handlers.ingest.keeping import take
from audit.handlers.ingest.landed import Landed
from audit.handlers.ingest.lines import LONGEST_LINE, Content
from audit.handlers.ingest.records import is_place
from tests.audit.support import AuditCell, event
from tests.audit.test_events import staged

GET, REPLAY = "GET /v1/rejected", "POST /v1/rejected/replay"
GOOD = json.dumps(event()).encode()


@pytest.fixture
def key(cell: AuditCell) -> str:
    """The key of acme, whose tenant is t1."""
    cell.key("acme", "t1")
    return cell.key("acme")


def shown(cell: AuditCell, key: str, **query: object) -> list[Any]:
    """What an application is shown first."""
    found: list[Any] = cell.ingest(GET, key, **query).body["rejected"]
    return found


def indexed() -> set[str]:
    """The ids in the index."""
    return {str(item["eventId"]) for item in table("test-index").scan()["Items"]}


def mend(cell: AuditCell, place: str, **texts: bytes) -> None:
    """Have these texts as what was rejected at a place: as if the service had learned since then to take them."""
    records = [
        {"object": "acme/a.jsonl", "line": int(line[1:]), "reason": "once", "text": text.decode()}
        for line, text in texts.items()
    ]
    content = "".join(f"{json.dumps(record)}\n" for record in records)
    name = f"_rejected/acme/{place}"
    s3().put_object(
        Bucket=cell.bucket("archive"), Key=name, Body=content.encode(), ChecksumAlgorithm="SHA256"
    )


def replay(cell: AuditCell, key: str, place: str, line: int | None = None) -> int:
    """Have it put through again; the status."""
    answer = cell.ingest(REPLAY, key, body={"object": place} | ({"line": line} if line else {}))
    before = [name for name in cell.landed() if "/replay-" in name]
    cell.process(*before)
    return answer.status


def test_what_was_rejected_is_shown_with_its_place_and_reason(cell: AuditCell, key: str) -> None:
    """And the beginning of its text."""
    cell.land("acme/a.jsonl", GOOD, b"{", b'{"x": "' + b"y" * 5000 + b'"}')
    cell.process()
    first, second = shown(cell, key)
    assert set(first) == {"object", "line", "source", "eventId", "time", "reason", "text", "replayable"}
    assert (first["source"], first["line"], first["text"]) == ("acme/a.jsonl", 2, "{")
    assert first["reason"].startswith("no JSON")
    assert first["object"].endswith("/a.jsonl")
    assert first["time"].endswith("Z")
    assert (second["line"], len(second["text"])) == (3, 1000)


def test_an_application_sees_its_own_only(cell: AuditCell, key: str) -> None:
    """Whatever it asks for; a tenant's key sees none."""
    rival = cell.key("rival")
    cell.land("rival/a.jsonl", b"{")
    cell.process()
    assert shown(cell, key) == []
    (theirs,) = shown(cell, rival)
    assert cell.ingest(REPLAY, key, body={"object": theirs["object"]}).status == 404
    cursor = rejected._cursor(("2024/01/01/../../../../rival/2025/01/01/a.jsonl", 0))
    assert cell.ingest(GET, key, cursor=cursor).code == "invalid_cursor"
    assert cell.ingest(GET, cell.key("acme", "t2")).status == 403


places = st.lists(
    st.tuples(
        st.dates().map(lambda day: f"{day:%Y/%m/%d}".rjust(10, "0")),
        st.text("ab%.", min_size=1, max_size=2),
        st.integers(1, 3),
    ),
    max_size=8,
    unique_by=lambda place: place[:2],
)


@settings(max_examples=40, deadline=None)
@given(places, st.integers(1, 4), st.integers(1, 3))
def test_the_pages_hold_every_record_once(found: list[tuple[str, str, int]], limit: int, most: int) -> None:
    """The newest day first, of a day by object and line, however many are asked for or read for an answer."""
    with staged() as stage, pytest.MonkeyPatch.context() as patch:
        patch.setattr(rejected, "OBJECTS", most)
        for day, name, lines in found:
            records = [json.dumps({"line": n + 1, "reason": "", "text": ""}) for n in range(lines)]
            place = f"_rejected/{APPLICATION}/{day}/{name}"
            stage.put_object(Bucket="archive", Key=place, Body="\n".join(records).encode())
        expected = [
            (f"{day}/{name}", n + 1)
            for day in sorted({day for day, *_ in found}, reverse=True)
            for name, lines in sorted((name, lines) for other, name, lines in found if other == day)
            for n in range(lines)
        ]
        seen: list[tuple[str, int]] = []
        cursor: dict[str, Any] = {}
        while True:
            answer = stage.ask(session.handler, GET, stage.application, limit=limit, **cursor)
            seen += [(one["object"], one["line"]) for one in answer["rejected"]]
            if answer["cursor"] is None:
                break
            assert 0 < len(answer["rejected"]) <= limit
            cursor = {"cursor": answer["cursor"]}
        assert seen == expected


def test_a_line_is_replayed_once_however_often_it_is_asked_for(cell: AuditCell, key: str) -> None:
    """Alone and with its object; equal lines are events of their own."""
    mend(cell, "2025/01/01/a.jsonl", l2=GOOD, l3=GOOD, l5=b"{")
    for line in (2, None, 3, 2, None):
        assert replay(cell, key, "2025/01/01/a.jsonl", line) == 202
    assert len(indexed()) == 2
    events = [name for name in cell.archived() if name.startswith("acme/t1/2025/01/01/")]
    assert len(events) == 2
    assert len(shown(cell, key)) == 3


def test_lines_are_replayed_side_by_side(cell: AuditCell, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of them, one after the other, would take longer than the processor has."""
    meeting = threading.Barrier(2, timeout=60)

    def met(part: Landed) -> Content:
        meeting.wait()
        return take(part)

    monkeypatch.setattr(processor, "take", met)
    mend(cell, "2025/01/01/a.jsonl", l2=GOOD, l3=GOOD)
    replay(cell, key, "2025/01/01/a.jsonl")
    assert len(indexed()) == 2


def test_a_replay_says_how_many_records_it_is_of(cell: AuditCell, key: str) -> None:
    """All of an object, or one."""
    mend(cell, "2025/01/01/a.jsonl", l2=GOOD, l3=b"{")
    answers = [
        cell.ingest(REPLAY, key, body={"object": "2025/01/01/a.jsonl", **line}).body
        for line in ({}, {"line": 3})
    ]
    assert answers == [{"accepted": 2}, {"accepted": 1}]


def test_what_is_still_no_event_stays_as_it_is(cell: AuditCell, key: str) -> None:
    """It is not told twice, and does not stop the others."""
    cell.land("acme/a.jsonl", b"{", b"[]")
    cell.process()
    before = shown(cell, key)
    assert replay(cell, key, before[0]["object"]) == 202
    assert shown(cell, key) == before


def test_the_lines_beyond_the_thousandth_come_by_replays(cell: AuditCell, key: str) -> None:
    """A thousand each; the rest of those is told anew, and a line that is none among them too."""
    cell.land("acme/a.jsonl", *[GOOD] * (2 * MAX_EVENTS), b"{", *[GOOD] * 10)
    cell.process()
    (rest,) = shown(cell, key)
    for _ in range(2):
        assert replay(cell, key, rest["object"]) == 202
    assert len(indexed()) == 2 * MAX_EVENTS
    more = next(one for one in shown(cell, key) if one["object"] != rest["object"])
    for _ in range(2):
        assert replay(cell, key, more["object"]) == 202
    assert len(indexed()) == 2 * MAX_EVENTS + 10
    assert "{" in [one["text"] for one in shown(cell, key)]


def test_a_replay_of_a_stranger_s_waits(cell: AuditCell, key: str) -> None:
    """As any event does."""
    mend(cell, "2025/01/01/a.jsonl", l1=json.dumps(event("t9")).encode())
    replay(cell, key, "2025/01/01/a.jsonl")
    assert [name.split("/")[:3] for name in cell.landed() if name[0] == "_"] == [["_waiting", "acme", "t9"]]


@pytest.mark.parametrize(
    "body",
    [None, [], {}, {"object": 3}, {"object": ""}, {"object": "a.jsonl"}, {"object": "2025/01/01/"},
     {"object": "2025/01/01/a/b"}, {"object": "2025/01/01/a", "line": 0}, {"object": "2025/01/01/a", "line": "1"},
     {"object": "2025/01/01/a", "line": True}, {"object": "2025/01/01/a", "lines": [1]},
     {"object": "2025/01/01/\ud800x"}, {"object": "2025/01/01/a\0b"}, {"object": "2025/01/01/a b"}],
    ids=repr,
)  # fmt: skip
def test_a_replay_of_what_can_be_none_is_refused(cell: AuditCell, key: str, body: object) -> None:
    """400 says what would be right."""
    answer = cell.ingest(REPLAY, key, body=body)
    assert (answer.status, answer.code) == (400, "invalid_body")


def test_a_replay_of_what_there_is_not_is_404(cell: AuditCell, key: str) -> None:
    """An object, or a line of one."""
    mend(cell, "2025/01/01/a.jsonl", l2=GOOD)
    for body in ({"object": "2025/01/01/a"}, {"object": "2025/01/01/a.jsonl", "line": 1}):
        answer = cell.ingest(REPLAY, key, body=body)
        assert (answer.status, answer.code) == (404, "unknown_object")
    assert cell.landed() == []


@pytest.mark.parametrize(
    "query",
    [{"limit": "0"}, {"limit": "101"}, {"limit": ["1", "2"]}, {"from": "x"}, {"cursor": "x"}, {"cursor": ""},
     {"cursor": "W1tbW1tbW1tb"}],
    ids=repr,
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_refused(cell: AuditCell, key: str, query: dict[str, Any]) -> None:
    """400, whatever it is."""
    assert cell.ingest(GET, key, **query).status == 400


@given(st.text(max_size=60))
def test_no_other_text_is_a_place(text: str) -> None:
    """Nothing leads out of the application's folder, and nothing is asked of S3 that no name can be."""
    assert not is_place(text) or text.count("/") == 3
    assert is_place(f"2025/01/01/{text}") == (re.fullmatch("[!-.0-~]+", text) is not None)


@pytest.mark.parametrize(
    "told",
    [{"object": "2025/01/01/\ud800x", "passed": 0}, {"object": "2025/01/01/a\0", "passed": 0},
     {"object": "2025/01/01/a", "passed": "1"}, {"object": "2025/01/01/a"}, ["2025/01/01/a", 1]],
    ids=repr,
)  # fmt: skip
def test_a_cursor_leads_to_what_a_place_can_be(cell: AuditCell, key: str, told: object) -> None:
    """400 for any other."""
    cursor = base64.urlsafe_b64encode(json.dumps(told).encode()).decode()
    assert cell.ingest(GET, key, cursor=cursor).code == "invalid_cursor"


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_of_records_of_one_line_none_is_lost_between_two_pages(cell: AuditCell, key: str, limit: int) -> None:
    """A line of more than a record holds, beyond the thousandth, is several."""
    records = [{"line": 7, "reason": "", "text": text} for text in "abcde"]
    s3().put_object(
        Bucket=cell.bucket("archive"),
        Key="_rejected/acme/2025/01/01/a.jsonl",
        Body="\n".join(map(json.dumps, records)).encode(),
        ChecksumAlgorithm="SHA256",
    )
    seen, asked = "", dict[str, Any]()
    while asked.get("cursor", "") is not None:
        answer = cell.ingest(GET, key, limit=limit, **asked).body
        seen += "".join(one["text"] for one in answer["rejected"])
        asked = {"cursor": answer["cursor"]}
    assert seen == "abcde"


@pytest.mark.parametrize(
    "content",
    [gzip.compress(GOOD + b"\n")[:-1], gzip.compress(GOOD + b" " * MAX_UPLOAD_BYTES), codecs.BOM_UTF16_LE + b"\0",
     GOOD + b" " * LONGEST_LINE + b"x"],
    ids=["a cut gzip", "a bomb", "UTF-16", "a line cut where it is an event"],
)  # fmt: skip
def test_what_is_kept_in_part_is_not_replayed(cell: AuditCell, key: str, content: bytes) -> None:
    """409 says what to do: what was sent is sent again, and would be stored twice, or nobody sent it so."""
    cell.land("acme/a.jsonl", content)
    cell.process()
    (one,) = shown(cell, key)
    assert not one["replayable"]
    for line in ({}, {"line": 1}):
        answer = cell.ingest(REPLAY, key, body={"object": one["object"], **line})
        assert (answer.status, answer.code) == (409, "not_replayable")
        assert "send it again" in answer.message
    assert indexed() == set()


def test_a_replay_passes_over_what_is_kept_in_part(cell: AuditCell, key: str) -> None:
    """And counts the others."""
    records = [
        {"line": 1, "reason": "", "text": GOOD.decode(), **more} for more in ({}, {"replayable": False})
    ]
    s3().put_object(
        Bucket=cell.bucket("archive"),
        Key="_rejected/acme/2025/01/01/a.jsonl",
        Body="\n".join(map(json.dumps, records)).encode(),
        ChecksumAlgorithm="SHA256",
    )
    assert cell.ingest(REPLAY, key, body={"object": "2025/01/01/a.jsonl"}).body == {"accepted": 1}
    cell.process()
    assert len(indexed()) == 1


def test_a_line_that_is_no_utf_8_is_judged_by_its_bytes(cell: AuditCell, key: str) -> None:
    """No event that nobody sent comes of a replay: alone, among many, and of a release that kept no bytes."""
    bad = GOOD.replace(b"login", b"log\xe9n")
    cell.land("acme/a.jsonl", bad)
    cell.land("acme/b.jsonl", *[GOOD] * MAX_EVENTS, bad, GOOD)
    cell.process()
    mend(cell, "2025/01/01/a.jsonl", l1=bad.decode(errors="replace").encode())
    old, *told = sorted(shown(cell, key), key=lambda one: str(one["object"]))
    assert [one["replayable"] for one in (old, *told)] == [False, True, True]
    assert [replay(cell, key, one["object"]) for one in (old, *told)] == [409, 202, 202]
    assert len(indexed()) == MAX_EVENTS + 1


LINES = st.lists(st.sampled_from([b"a\n", b"\xe9\n", b"\n", b"b" * 25 + b"\n", b"c" * 12]), max_size=8).map(
    b"".join
)


@given(LINES)
def test_of_many_lines_whole_ones_alone_can_be_replayed(text: bytes) -> None:
    """All bytes are kept, in records of a bounded size; parts of a line that is longer are no lines."""
    content = Content()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "RECORD_BYTES", 10)
        content.reject_all(Landed("acme/a.jsonl", datetime.now(UTC), {}, text), 1, "", text)
    parts = [
        (base64.b64decode(str(one["base64"])) if "base64" in one else str(one["text"]).encode(), one)
        for one in content.rejected
    ]
    assert b"".join(part for part, _ in parts) == text
    whole = text.splitlines(keepends=True)
    for part, one in parts:
        assert len(part) <= 10
        if one.get("replayable", True):
            first = int(str(one["line"])) - 1
            assert b"".join(whole[first : first + len(part.splitlines())]) == part
