"""A Parquet file of events, made in steps: as a reader that nobody here wrote reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.handlers.common.events import microseconds
from audit.handlers.query import export_worker, formats
from audit.handlers.query.formats import FORMATS, PARQUET_COLUMNS, Draft
from tests.audit.test_exports import BEFORE_AND_AFTER, NEWEST_FIRST, Exports, made, through_kills
from tests.audit.test_formats import EVENT, rows
from tests.audit.test_ocsf import stored
from tests.audit.test_properties import events

__all__ = ["made"]  # a fixture

PARQUET, CSV = FORMATS["parquet"], FORMATS["csv"]
NAMES = [name for name, _ in PARQUET_COLUMNS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where files lie to be read."""
    return tmp_path_factory.mktemp("parquet")


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of a few events."""
    monkeypatch.setattr(formats, "GROUP_BYTES", 300)


def asked(question: str) -> list[tuple[Any, ...]]:
    """What DuckDB answers."""
    answer = duckdb.sql(question)
    assert answer is not None
    return answer.fetchall()


def table(content: bytes, folder: Path) -> list[dict[str, Any]]:
    """The rows of a file, its time in microseconds."""
    path = folder / "events.parquet"
    path.write_bytes(content)
    read = f"SELECT * REPLACE (epoch_us(eventTime) AS eventTime) FROM '{path}'"
    return [dict(zip(NAMES, row, strict=True)) for row in asked(read)]


def file_of(*pages: list[dict[str, Any]]) -> bytes:
    """A file of pages, each of which another worker goes on with."""
    content, draft = b"", PARQUET.begin()
    for page in pages:
        draft = PARQUET.load(PARQUET.add(draft, page).dump())
        content, draft = content + draft.ready, Draft(b"", draft.held)
    return content + PARQUET.end(draft)


def as_csv(found: list[dict[str, Any]]) -> list[dict[str, str]]:
    """What CSV has of events, without its apostrophes."""
    return [
        {name: cell.removeprefix("'") for name, cell in row.items()}
        for row in rows(CSV.end(CSV.add(CSV.begin(), found)))
    ]


def test_an_event_is_this_row(folder: Path) -> None:
    """The columns of CSV in their order, texts but for the time; what there is not is null; no formulas to fear."""
    (row,) = table(file_of([EVENT]), folder)
    assert row == {
        "eventId": "0a",
        "eventTime": 1738324800000000,
        "tenantId": "t1",
        "eventName": "=1+1",
        "actorId": "+49",
        "actor": '{"id": "+49", "details": {"role": "member"}, "more": "kept"}',
        "resourceIds": '["r1", "r2"]',
        "resources": '[{"id": "r1", "details": {"a": 1}}, {"id": "r2"}]',
        "sourceIpAddress": "192.0.2.7",
        "userAgent": '@x "y", z\nline',
        "context": '{"device": "d"}',
        "eventDetails": '{"note": "\\u00fcn\\u00efcode", "n": 0.5}',
        "tags": '{"a": "b"}',
        "more": '{"extra": [1]}',
        "eventTimeText": "2025-01-31T12:00:00Z",
    }
    (bare,) = table(
        file_of([{name: EVENT[name] for name in ("eventId", "tenantId", "eventTime", "eventName")}]), folder
    )
    assert {name for name, cell in bare.items() if cell is None} == set(NAMES[4:-1])


def test_columns_are_texts_and_a_time(folder: Path) -> None:
    """As a reader sees them: the time is one of UTC."""
    (folder / "types.parquet").write_bytes(file_of([EVENT]))
    told = asked(f"DESCRIBE SELECT * FROM '{folder / 'types.parquet'}'")
    assert {(name, kind) for name, kind, *_ in told} == {
        (name, "TIMESTAMP WITH TIME ZONE" if name == "eventTime" else "VARCHAR") for name in NAMES
    }


@settings(max_examples=40)
@given(st.lists(st.lists(events, max_size=3), max_size=4), st.integers(1, 400))
def test_any_events_are_the_rows_of_csv(folder: Path, pages: list[list[dict[str, Any]]], group: int) -> None:
    """Whatever pages they come in, and however large the groups are; the time to the microsecond."""
    found = [[stored(one) for one in page] for page in pages]
    every = [one for page in found for one in page]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "GROUP_BYTES", group)
        read = table(file_of(*found), folder)
    assert [row["eventTime"] for row in read] == [microseconds(one["eventTime"]) for one in every]
    assert [row.pop("eventTimeText") for row in read] == [one["eventTime"] for one in every]
    texts = [{name: row[name] or "" for name in NAMES[:-1] if name != "eventTime"} for row in read]
    expected = [{name: cell for name, cell in row.items() if name != "eventTime"} for row in as_csv(every)]
    assert [{name: cell.removeprefix("'") for name, cell in row.items()} for row in texts] == expected


def test_events_that_come_one_by_one_are_rows_of_one_group(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as are of a group's size: a question that finds little makes no file of groups of one row."""
    path = folder / "groups.parquet"
    for size, expected in ((10**6, [10]), (1, [1] * 10)):
        monkeypatch.setattr(formats, "GROUP_BYTES", size)
        path.write_bytes(file_of(*[[EVENT]] * 10))
        told = f"SELECT row_group_num_rows FROM parquet_metadata('{path}') WHERE path_in_schema = 'eventId'"
        assert [count for (count,) in asked(told)] == expected


def test_an_export_holds_what_json_lines_do(
    made: Exports, folder: Path, small_groups: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the question's events, newest first; of none it is a whole file too."""
    monkeypatch.setattr(export_worker, "PART_BYTES", 100)
    lines = [json.loads(line) for line in made.made(format="jsonl").splitlines()]
    read = table(made.made(format="parquet"), folder)
    assert [row["eventId"] for row in read] == [one["eventId"] for one in lines]
    assert [json.loads(row["eventDetails"]) for row in read] == [one["eventDetails"] for one in lines]
    assert table(made.made(format="parquet", actorId="nobody"), folder) == []


@BEFORE_AND_AFTER
def test_its_worker_may_be_killed_at_any_instant(
    made: Exports, after: bool, folder: Path, small_groups: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is whole, and holds each event once: its end knows of every group, whoever made it."""
    content = through_kills(made, "parquet", 2000, after, monkeypatch)
    assert [json.loads(row["eventDetails"])["n"] for row in table(content, folder)] == NEWEST_FIRST
