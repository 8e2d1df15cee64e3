"""What is odd about an upload has its answer, and takes nobody else's events along."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
import zlib
from typing import Any

import httpx
import pytest

from audit.handlers.common.aws import table
from audit.handlers.common.events import MAX_EVENTS, MAX_UPLOAD_BYTES
from audit.handlers.ingest.lines import LONGEST_LINE, Unreadable, unpacked
from tests.audit.support import AuditCell, event

LINE = json.dumps(event()).encode()
TWO = LINE + b"\n" + json.dumps(event(second=1)).encode() + b"\n"


@pytest.fixture
def acme(cell: AuditCell) -> AuditCell:
    """A cell whose application acme has the tenant t1."""
    cell.key("acme", "t1")
    return cell


def upload(cell: AuditCell, content: bytes) -> httpx.Response:
    """Upload a file in a new session, and process it."""
    opened = cell.ingest("GET /applications/session", cell.key("acme")).body
    form = {**opened["form"], "key": "acme/odd.jsonl"}
    answer = httpx.post(opened["uploadUrl"], data=form, files={"file": content}, timeout=60)
    if answer.is_success:
        assert cell.process() == {"batchItemFailures": []}
    return answer


def taken() -> int:
    """How many events are indexed."""
    return len(table("test-index").scan()["Items"])


def rejected(cell: AuditCell) -> list[Any]:
    """The records of what was rejected."""
    return [line for key, lines in cell.archived().items() if key[0] == "_" for line in lines]


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "EntityTooSmall"), (b"x" * (MAX_UPLOAD_BYTES + 1), "EntityTooLarge")],
    ids=["empty", "gigantic"],
)
def test_s3_itself_refuses_what_is_too_small_or_too_large(acme: AuditCell, content: bytes, code: str) -> None:
    """With its own error; nothing lands."""
    answer = upload(acme, content)
    assert answer.status_code == 400
    assert f"<Code>{code}</Code>" in answer.text
    assert acme.landed() == []


@pytest.mark.parametrize("content", [b"\n", b" \r\n\n", b"\xef\xbb\xbf\n"], ids=repr)
def test_a_file_of_nothing_is_no_event_and_no_error(acme: AuditCell, content: bytes) -> None:
    """Blank lines are none."""
    upload(acme, content)
    assert (taken(), rejected(acme)) == (0, [])


def test_of_a_file_that_was_cut_all_but_the_last_line_is_taken(acme: AuditCell) -> None:
    """And the rest of that is shown."""
    upload(acme, TWO + LINE[:30])
    (record,) = rejected(acme)
    assert (taken(), record["line"], record["text"]) == (2, 3, LINE[:30].decode())
    assert record["reason"].startswith("no JSON")


@pytest.mark.parametrize(
    "content",
    [gzip.compress(TWO), gzip.compress(LINE + b"\n") + gzip.compress(TWO[len(LINE) + 1 :])],
    ids=["whole", "in parts"],
)
def test_gzip_is_unpacked(acme: AuditCell, content: bytes) -> None:
    """It is known by its first bytes, whatever it is called, and may be of several parts."""
    upload(acme, content)
    assert (taken(), rejected(acme)) == (2, [])


@pytest.mark.parametrize("cut", [-9, -1, 15], ids=["amid", "at the checksum", "after its header"])
def test_of_a_gzip_that_was_cut_nothing_is_taken(acme: AuditCell, cut: int) -> None:
    """One record says so, and shows its beginning: whether the rest is right is not known."""
    upload(acme, gzip.compress(TWO * 10)[:cut])
    (record,) = rejected(acme)
    assert (taken(), record["line"]) == (0, 1)
    assert record["reason"].startswith("it is no whole gzip")


def bomb() -> bytes:
    """A gigabyte in a megabyte."""
    packing = zlib.compressobj(wbits=31)
    part = b"\0" * 2**20
    return b"".join([*(packing.compress(part) for _ in range(1024)), packing.flush()])


def test_a_zip_bomb_is_refused_at_the_limit(acme: AuditCell) -> None:
    """With the limit in its reason, and no more memory than that; a file of just that size is none."""
    content = bomb()
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match="more than 10485760 bytes"):
            unpacked(content)
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_UPLOAD_BYTES
    finally:
        tracemalloc.stop()
    upload(acme, content)
    (record,) = rejected(acme)
    assert "10485760" in record["reason"]
    assert len(record["text"]) == 1000
    assert len(unpacked(gzip.compress(b"x" * MAX_UPLOAD_BYTES))) == MAX_UPLOAD_BYTES


def test_of_more_than_a_thousand_lines_the_first_thousand_are_taken(acme: AuditCell) -> None:
    """The rest lies in records of many lines each, which name the first, and can be put through again."""
    upload(acme, (LINE + b"\n") * 2500)
    (record,) = rejected(acme)
    assert (taken(), record["line"], record["text"].count("\n")) == (MAX_EVENTS, MAX_EVENTS + 1, 1500)
    assert "beyond the 1000 lines" in record["reason"]


def test_a_line_of_ten_megabytes_is_rejected_with_the_limit(acme: AuditCell) -> None:
    """Its beginning is kept; its neighbours are taken."""
    line = b'{"x": "' + b"x" * (MAX_UPLOAD_BYTES - len(TWO) - 10) + b'"}'
    upload(acme, LINE + b"\n" + line + b"\n" + TWO[len(LINE) + 1 :])
    (record,) = rejected(acme)
    assert (taken(), record["line"], len(record["text"])) == (2, 2, LONGEST_LINE)
    assert record["reason"] == f"{len(line)} bytes, of at most {LONGEST_LINE}"


def test_garbage_is_rejected_in_a_bounded_number_of_records(acme: AuditCell) -> None:
    """Whatever its bytes are."""
    upload(acme, b"\x00" + random.Random(1).randbytes(3_000_000))
    records = rejected(acme)
    assert taken() == 0
    assert MAX_EVENTS < len(records) <= MAX_EVENTS + 4


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
def test_what_is_no_utf_8_is_rejected(acme: AuditCell, codec: str, pack: Any) -> None:
    """With its mark at the beginning as a whole, without it line by line."""
    upload(acme, pack(TWO.decode().encode(codec)))
    records = rejected(acme)
    assert taken() == 0
    marked = codec in ("utf-16", "utf-32")
    assert len(records) == 1 if marked else records
    assert all(("UTF-16" in record["reason"]) == marked for record in records)
