"""A tenant reads its own events, newest first."""

from __future__ import annotations

import json
from typing import Any

import pytest

from audit.handlers.common.events import MAX_EVENT_BYTES
from audit.handlers.query import answering, api, reading
from tests.audit.support import AuditCell, event


@pytest.fixture
def keys(cell: AuditCell) -> dict[str, str]:
    """Keys of three tenants, one of another application, and twelve events of t1, five of t2."""
    found = {"t1": cell.key("acme", "t1"), "t2": cell.key("acme", "t2"), "rival": cell.key("rival", "t1")}
    cell.land(
        "acme/a.jsonl",
        *(
            event(
                "t1",
                second,
                eventName="login" if second % 2 else "logout",
                actor={"id": f"u{second % 3}", "details": {"n": second}},
                resources=[{"id": f"r{second % 4}"}, {"id": "shared"}],
                context={"sourceIpAddress": f"192.0.2.{second}"},
                tags={"odd": str(second % 2)} if second else None,
            )
            for second in range(12)
        ),
        *(event("t2", second) for second in range(5)),
    )
    cell.process()
    return found


def seconds(answer: Any) -> list[int]:
    """The seconds of an answer's events, in its order."""
    return [int(found["eventTime"][17:19]) for found in answer.body["events"]]


def followed(cell: AuditCell, key: str, **query: object) -> list[int]:
    """The seconds of all events that a question's answers hold, cursor after cursor."""
    found: list[int] = []
    answer = cell.search(key, **query)
    while answer.body["cursor"] is not None:
        found += seconds(answer)
        answer = cell.search(key, **query, cursor=answer.body["cursor"])
    return found + seconds(answer)


def test_events_come_back_as_they_were_accepted(cell: AuditCell, keys: dict[str, str]) -> None:
    """With an id, and nothing else added, lost or changed."""
    answer = cell.search(keys["t1"], limit=1)
    found = answer.body["events"][0]
    assert len(found.pop("eventId")) == 32
    assert found == event(
        "t1",
        11,
        actor={"id": "u2", "details": {"n": 11}},
        resources=[{"id": "r3"}, {"id": "shared"}],
        context={"sourceIpAddress": "192.0.2.11"},
        tags={"odd": "1"},
    )


def test_the_newest_come_first_and_the_cursor_goes_on(cell: AuditCell, keys: dict[str, str]) -> None:
    """Following the cursor gives every event once; the last page has none."""
    pages: list[list[int]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = cell.search(keys["t1"], limit=5, **cursor)
        pages.append(seconds(answer))
        if answer.body["cursor"] is None:
            break
        cursor = {"cursor": answer.body["cursor"]}
    assert pages == [[11, 10, 9, 8, 7], [6, 5, 4, 3, 2], [1, 0]]


def test_a_page_that_holds_exactly_the_rest_has_no_cursor(cell: AuditCell, keys: dict[str, str]) -> None:
    """Nobody asks for an empty last page."""
    assert cell.search(keys["t1"], limit=12).body["cursor"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"eventName": "login"}, [11, 9, 7, 5, 3, 1]),
        ({"actorId": "u0"}, [9, 6, 3, 0]),
        ({"resourceId": "r1"}, [9, 5, 1]),
        ({"resourceId": "shared", "limit": 2}, [11, 10]),
        ({"eventName": "login", "actorId": "u0", "resourceId": "r1"}, [9]),
        ({"from_": "2025-03-01T10:00:09Z"}, [11, 10, 9]),
        ({"to": "2025-03-01T10:00:02Z"}, [1, 0]),
        ({"from_": "2025-03-01T11:00:03+01:00", "to": "2025-03-01T10:00:05.5Z"}, [5, 4, 3]),
        ({"from_": "2025-03-01T10:00:03Z", "to": "2025-03-01T10:00:03Z"}, []),
        ({"tenantId": "t1", "limit": 1}, [11]),
        ({"actorId": "nobody"}, []),
        ({"tag": "odd:0"}, [10, 8, 6, 4, 2]),
        ({"tag": "odd", "limit": 2}, [11, 10]),
        ({"sourceIp": "192.0.2.3"}, [3]),
        ({"sourceIp": "192.0.2.0/30"}, [3, 2, 1, 0]),
        ({"text": "192.0.2.1"}, [11, 10, 1]),
        ({"text": "7"}, [7]),
        ({"text": "192.0.2.1", "tag": "odd:1", "actorId": "u1"}, [1]),
        ({"X-Amz-Credential": "signed", "limit": 1}, [11]),
    ],
)
def test_every_filter_narrows(
    cell: AuditCell, keys: dict[str, str], query: dict[str, object], expected: list[int]
) -> None:
    """Filters combine; `from` is inside the span, `to` is not."""
    answer = cell.search(keys["t1"], **query)
    assert answer.status == 200
    assert seconds(answer) == expected


def test_filters_and_cursor_combine(
    cell: AuditCell, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much of the index an answer may read, following the cursor gives every match once."""
    monkeypatch.setattr(answering, "MAX_PAGES", 2)
    monkeypatch.setattr(reading, "_FILTERED_PAGE", 2)
    assert followed(cell, keys["t1"], actorId="u1", limit=3) == [10, 7, 4, 1]
    assert followed(cell, keys["t1"], tag="odd:0", limit=3) == [10, 8, 6, 4, 2]


def test_an_answer_takes_its_time_and_no_more(
    cell: AuditCell, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first page is looked at, however long that took; the cursor goes on to the others."""
    monkeypatch.setattr(answering, "MAX_SECONDS", 0.0)
    monkeypatch.setattr(reading, "_FILTERED_PAGE", 5)
    answer = cell.search(keys["t1"], text="192.0.2.3")
    assert (seconds(answer), answer.body["cursor"] is None) == ([], False)
    assert followed(cell, keys["t1"], text="192.0.2.3") == [3]


def test_an_answer_fits_a_function_s_whatever_the_events_hold(cell: AuditCell) -> None:
    """A hundred of the largest events, of quotes alone, are more than 6 MB: fewer come, and the cursor goes on."""
    key = cell.key("acme", "t1")
    large = event(eventDetails={"text": '"' * ((MAX_EVENT_BYTES - 150) // 2)})
    cell.land("acme/a.jsonl", *([large] * 100))
    cell.process()
    assert len(cell.archived()) == 1
    sizes: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        answer = cell.search(key, limit=100, **cursor)
        assert len(json.dumps(json.dumps(answer.body))) < 6 * 1024 * 1024
        sizes.append(len(answer.body["events"]))
        if answer.body["cursor"] is None:
            break
        cursor = {"cursor": answer.body["cursor"]}
    assert sum(sizes) == 100
    assert len(sizes) == 2


def test_a_tenant_sees_its_own_events_only(cell: AuditCell, keys: dict[str, str]) -> None:
    """Not its neighbour's, and not those of a tenant of the same name in another application."""
    assert len(cell.search(keys["t1"]).body["events"]) == 12
    assert {found["tenantId"] for found in cell.search(keys["t2"]).body["events"]} == {"t2"}
    assert cell.search(keys["rival"]).body == {"events": [], "cursor": None}


def test_asking_for_another_tenant_is_refused(cell: AuditCell, keys: dict[str, str]) -> None:
    """403, and no word about whether it exists."""
    answers = [cell.search(keys["t1"], tenantId=other) for other in ("t2", "nobody")]
    assert [(answer.status, answer.code) for answer in answers] == [(403, "foreign_tenant")] * 2
    assert answers[0].message == answers[1].message


def test_a_cursor_of_another_tenant_is_refused(cell: AuditCell, keys: dict[str, str]) -> None:
    """A cursor is good for the key and the question that it was made for."""
    cursor = cell.search(keys["t1"], limit=2).body["cursor"]
    for key, query in [(keys["t2"], {}), (keys["rival"], {}), (keys["t1"], {"eventName": "login"})]:
        answer = cell.search(key, cursor=cursor, **query)
        assert (answer.status, answer.code) == (400, "invalid_cursor")
    assert cell.search(keys["t1"], cursor=cursor, limit=100).status == 200


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "-1"},
        {"limit": "ten"},
        {"limit": "9" * 5000},
        {"limit": "00000000199"},
        {"limit": "²"},
        {"from_": "yesterday"},
        {"to": "2025-02-30T00:00:00Z"},
        {"from_": "2025-03-02T00:00:00Z", "to": "2025-03-01T00:00:00Z"},
        {"cursor": "made-up"},
        {"cursor": "ö"},
        {"eventName": ""},
        {"eventName": ["a", "b"]},
        {"color": "red"},
        {"sourceIp": "192.0.2.256"},
        {"text": " "},
        {"text": "a b c d e f g h i j k"},
        {"tag": "x" * 513},
    ],
    ids=str,
)
def test_a_parameter_that_is_not_understood_is_refused(
    cell: AuditCell, keys: dict[str, str], query: dict[str, object]
) -> None:
    """400 names the parameter."""
    answer = cell.search(keys["t1"], **query)
    assert answer.status == 400
    assert next(iter(query)).rstrip("_") in answer.message


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH", "HEAD", "OPTIONS"])
def test_events_are_read_and_nothing_else(cell: AuditCell, method: str) -> None:
    """Whatever else is asked is told what may be: 405, with or without a key, and `Allow`."""
    answer = cell.call(api.handler, f"{method} /v1/events")
    assert (answer.status, answer.code, answer.headers["allow"]) == (405, "method_not_allowed", "GET")
