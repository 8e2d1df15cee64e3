"""What holds for any event, time and cursor."""

from __future__ import annotations

import json
import string
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.handlers.common import fitting
from audit.handlers.common.aws import on_stage
from audit.handlers.common.directory import Copy, copied_to
from audit.handlers.common.events import canonical_time, problems
from audit.handlers.common.exact import write
from audit.handlers.common.http import ApiError, parse_json
from audit.handlers.common.index import event_of, item
from audit.handlers.common.rehearsal import APPLICATION, Stage
from audit.handlers.query import api
from audit.handlers.query.search import Search

FIELDS = (
    "eventId",
    "tenantId",
    "eventTime",
    "eventName",
    "actor",
    "resources",
    "context",
    "eventDetails",
    "tags",
)
ids = st.text(string.ascii_letters + string.digits + "_-+=", min_size=1, max_size=128)
applications = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=zones)
times = moments.map(lambda moment: moment.isoformat())
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
empty: st.SearchStrategy[Any] = st.sampled_from([None, "", [], {}])
objects = empty | st.dictionaries(texts, values, max_size=3)
named = st.fixed_dictionaries({"id": texts}, optional={"details": objects})
contexts = st.fixed_dictionaries({}, optional={"sourceIpAddress": empty | texts, "userAgent": empty | texts})
more = st.dictionaries(texts.filter(lambda name: name not in FIELDS), values, max_size=2)
events = st.builds(
    lambda extra, known: {**extra, **known},
    more,
    st.fixed_dictionaries(
        {"tenantId": ids, "eventTime": times, "eventName": texts},
        optional={
            "actor": empty | named,
            "resources": empty | st.lists(named, max_size=3),
            "context": empty | contexts,
            "eventDetails": objects,
            "tags": empty | st.dictionaries(texts, texts, max_size=3),
        },
    ),
)


@given(events)
def test_any_valid_event_is_accepted_and_comes_back_unchanged(event: dict[str, Any]) -> None:
    """From JSON through the index and back to JSON, nothing is lost."""
    assert problems(event) == []
    parsed = parse_json(json.dumps(event).encode())
    back = write(event_of(item("acme", "id", parsed)))
    assert back == json.dumps({"eventId": "id", **event})


@given(events, st.sampled_from(["tenantId", "eventTime", "eventName"]))
def test_a_missing_required_field_is_named(event: dict[str, Any], name: str) -> None:
    """Whatever else the event holds."""
    del event[name]
    assert [(problem.field, problem.found) for problem in problems(event)] == [(name, "nothing")]


@given(st.recursive(values | st.text(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=10))
def test_any_json_is_judged_without_a_crash(value: object) -> None:
    """Problems are always text that can be sent as JSON."""
    assert json.dumps([problem.at(0) for problem in problems(value)])


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_a_value_error(content: bytes) -> None:
    """Nothing that a client sends raises anything else."""
    with suppress(ValueError):
        parse_json(content)


@given(moments, moments)
def test_canonical_times_sort_as_the_moments_do(one: datetime, other: datetime) -> None:
    """In whatever zone they were written."""
    texts = canonical_time(one.isoformat()), canonical_time(other.isoformat())
    assert (texts[0] < texts[1]) == (one < other)
    assert (texts[0] == texts[1]) == (one == other)
    assert datetime.fromisoformat(texts[0]) == one.astimezone(UTC)


@given(st.text(max_size=40))
def test_a_text_that_is_no_time_is_a_value_error(text: str) -> None:
    """Never another error, and never a time in another form."""
    with suppress(ValueError):
        assert len(canonical_time(text)) == 27


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2025-13-01T00:00:00Z", "2025-01-01T24:00:00Z",
     "2025-W01-1T00:00:00Z", "2025-01-01T00:00:00", "2025-01-01 00:00:00Z", "2025-01-01T00:00:00+25:00",
     "2025-01-01T00:00:00+05:60", "2025-01-01T00:00:00+24:00", "2025-01-01T00:60:00Z", "2025-01-01T00:00:61Z",
     "2025-01-01T00:00:00.Z", "2025-01-01T00:00:00,5Z", "2025-01-01T00:00Z", "2025-01-01T00:00:00+0100",
     "2025-02-30T00:00:00Z", "2025-01-01T00:00:00+01", "２025-01-01T00:00:00Z", "2025-01-01T00:00:00Z\n",
     "2016-12-31T22:59:60Z", "2016-12-30T23:59:60Z", "2016-12-31T23:59:60+01:00", "2025-02-28T23:58:60Z"],
)  # fmt: skip
def test_times_out_of_range_or_form_are_refused(text: str) -> None:
    """RFC 3339 and nothing beside it."""
    with pytest.raises(ValueError, match=r".+"):
        canonical_time(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:60.000000Z"),
        ("2017-01-01T00:59:60.5+01:00", "2016-12-31T23:59:60.500000Z"),
        ("1990-12-31T15:59:60-08:00", "1990-12-31T23:59:60.000000Z"),
        ("2012-06-30T23:59:60.9z", "2012-06-30T23:59:60.900000Z"),
        ("9999-12-31T23:59:60Z", "9999-12-31T23:59:60.000000Z"),
        ("2025-01-01t00:00:00-00:00", "2025-01-01T00:00:00.000000Z"),
        ("2025-01-01T00:00:00." + "123456789" * 20 + "Z", "2025-01-01T00:00:00.123456Z"),
        ("0999-01-01T00:00:00.1Z", "0999-01-01T00:00:00.100000Z"),
        ("2025-01-01T23:59:59+23:59", "2025-01-01T00:00:59.000000Z"),
    ],
)
def test_every_form_of_rfc_3339_is_a_time(text: str, canonical: str) -> None:
    """A leap second comes after its minute's 59th second and before the next minute."""
    assert canonical_time(text) == canonical


def test_a_leap_second_lies_between_its_neighbours() -> None:
    """In the order of the index, which is that of text."""
    before, leap, later = "2016-12-31T23:59:59.9999999Z", "2016-12-31T23:59:60Z", "2016-12-31T23:59:60.5Z"
    order = [canonical_time(text) for text in (before, leap, later, "2017-01-01T00:00:00Z")]
    assert order == sorted(set(order))


questions = st.builds(
    Search,
    partition=st.tuples(applications, ids).map("#".join),
    secret=st.binary(min_size=32, max_size=32),
    filters=st.lists(st.tuples(st.sampled_from(["eventName", "actorId"]), texts), max_size=2).map(tuple),
)


@given(questions, texts)
def test_a_cursor_leads_back_to_its_position(question: Search, position: str) -> None:
    """For the same question under the same key."""
    assert question.after(question.cursor(position)).start == position


@given(questions, questions, texts)
def test_a_cursor_is_no_good_for_another_question(one: Search, other: Search, position: str) -> None:
    """Or under another key, even one that asks the same."""
    for foreign in (other, replace(one, secret=other.secret), replace(one, partition=other.partition)):
        if foreign == one:
            continue
        with pytest.raises(ApiError) as refused:
            foreign.after(one.cursor(position))
        assert refused.value.status == 400


@given(questions, st.text(max_size=60))
def test_any_other_text_is_no_cursor(question: Search, text: str) -> None:
    """Refused, never a crash."""
    with pytest.raises(ApiError):
        question.after(text)


@given(
    st.lists(st.tuples(events, st.text(st.sampled_from('"\\\\aé\n'), max_size=60)), max_size=12),
    st.integers(1, 100),
    st.integers(1, 3000),
)
def test_the_pages_of_a_search_hold_every_event_once(
    found: list[tuple[dict[str, Any], str]], limit: int, room: int
) -> None:
    """However many are asked for, whatever they hold, and however little an answer may weigh."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONFIG_BUCKET", "config")
        patch.setenv("INDEX_TABLE", "index")
        patch.setenv("LIMITS_TABLE", "limits")
        patch.setenv("LIMIT_REQUESTS", "100")
        patch.setattr(fitting, "ANSWER_BYTES", room)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            patch.setenv(name, "eu-west-1")
        stage = Stage()
        stage.items = [
            item(APPLICATION, f"id-{n}", {**event, "eventDetails": {"text": text}})
            for n, (event, text) in enumerate(found)
        ]
        seen: list[str] = []
        cursor: dict[str, str] = {}
        with on_stage(stage), copied_to(Copy()):
            while True:
                answer = stage.ask(api.handler, "GET /v1/events", stage.tenant, limit=limit, **cursor)
                page = [event["eventId"] for event in answer["events"]]
                weight = len(json.dumps(json.dumps(answer["events"])))
                assert len(page) <= limit
                assert weight <= room + 4 or len(page) == 1
                seen += page
                if answer["cursor"] is None:
                    break
                assert page
                cursor = {"cursor": answer["cursor"]}
    newest_first = sorted(stage.items, key=lambda found: str(found["sk"]), reverse=True)
    assert seen == [found["eventId"] for found in newest_first]
