"""What a file of events looks like: the same for ever, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.handlers.common.http import parse_json
from audit.handlers.query import exports
from audit.handlers.query.formats import COLUMNS, FORMATS
from tests.audit.test_properties import events

EVENT: dict[str, Any] = {
    "eventId": "0a",
    "tenantId": "t1",
    "eventTime": "2025-01-31T12:00:00Z",
    "eventName": "=1+1",
    "actor": {"id": "+49", "details": {"role": "member"}, "more": "kept"},
    "resources": [{"id": "r1", "details": {"a": 1}}, {"id": "r2"}],
    "context": {"sourceIpAddress": "192.0.2.7", "userAgent": '@x "y", z\nline', "device": "d"},
    "eventDetails": {"note": "ünïcode", "n": 0.5},
    "tags": {"a": "b"},
    "extra": [1],
}


def rows(content: bytes) -> list[dict[str, str]]:
    """The rows of a CSV file, strictly read."""
    text = io.StringIO(content.decode(), newline="")
    return list(csv.DictReader(text, strict=True))


def file_of(form: str, *found: Any) -> bytes:
    """A file of two pieces."""
    middle = len(found) // 2
    made = FORMATS[form]
    draft = made.add(made.load(made.begin().dump()), found[:middle])
    return made.end(made.add(draft, found[middle:]))


def test_a_csv_file_is_this() -> None:
    """Columns and their order are promised: who reads them later finds them as today."""
    assert file_of("csv", EVENT).decode() == (
        "eventId,eventTime,tenantId,eventName,actorId,actor,resourceIds,resources,sourceIpAddress,userAgent,"
        "context,eventDetails,tags,more\r\n"
        "0a,2025-01-31T12:00:00Z,t1,'=1+1,'+49,"
        '"{""id"": ""+49"", ""details"": {""role"": ""member""}, ""more"": ""kept""}","[""r1"", ""r2""]",'
        '"[{""id"": ""r1"", ""details"": {""a"": 1}}, {""id"": ""r2""}]",192.0.2.7,"\'@x ""y"", z\nline",'
        '"{""device"": ""d""}","{""note"": ""\\u00fcn\\u00efcode"", ""n"": 0.5}","{""a"": ""b""}",'
        '"{""extra"": [1]}"\r\n'
    )


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])
def test_no_cell_is_a_formula(first: str) -> None:
    """What a spreadsheet would calculate is a text, in whatever cell; what stands within a text is left alone."""
    for place in ("eventName", "actor", "context"):
        risky = {"actor": {"id": f"{first}cmd"}, "context": {"userAgent": f"{first}cmd"}}.get(
            place, f"{first}cmd"
        )
        (row,) = rows(file_of("csv", {**EVENT, place: risky}))
        assert f"'{first}cmd" in row.values()
    (row,) = rows(file_of("csv", {**EVENT, "eventName": f"a{first}"}))
    assert row["eventName"] == f"a{first}"


@given(st.lists(events, max_size=4))
def test_any_events_are_rows_of_any_file(found: list[dict[str, Any]]) -> None:
    """As many as there are, of as many columns, none of them dangerous; JSON lines hold them as they are."""
    stored = [{"eventId": str(n), **parse_json(json.dumps(one).encode())} for n, one in enumerate(found)]
    packed = {form: gzip.decompress(file_of(form + ".gz", *stored)) for form in ("csv", "jsonl") if stored}
    for form, content in packed.items():
        assert content == file_of(form, *stored)
    lines = file_of("jsonl", *stored).splitlines()
    assert [json.loads(line) for line in lines] == [{"eventId": str(n), **one} for n, one in enumerate(found)]
    table = rows(file_of("csv", *stored))
    assert [row["eventId"] for row in table] == [one["eventId"] for one in stored]
    for row in table:
        assert tuple(row) == COLUMNS
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())


def test_every_format_that_may_be_asked_for_is_one() -> None:
    """The API says which without loading them."""
    assert set(exports.FORMATS) == set(FORMATS)


def test_the_api_loads_nothing_that_only_the_worker_needs() -> None:
    """A first request waits for what it needs, and for no more."""
    asked = "import sys, audit.handlers.query.api; print([name for name in sys.modules if name.endswith('formats')])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
