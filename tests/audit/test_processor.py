"""Landing objects are archived first, then indexed; a redelivery changes nothing."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest

from audit.handlers.common.aws import s3, table
from audit.handlers.common.events import MAX_EVENTS
from tests.audit.support import AuditCell, event


def indexed(cell: AuditCell) -> list[dict[str, Any]]:
    """Every item of the index."""
    return table("test-index").scan()["Items"]


@pytest.fixture
def acme(cell: AuditCell) -> AuditCell:
    """A cell whose application acme has the tenants t1 and t2."""
    cell.key("acme", "t1")
    cell.key("acme", "t2")
    return cell


def test_events_are_archived_and_indexed_by_tenant(acme: AuditCell) -> None:
    """Each tenant's lines stand in an object of their own, with the ids under which they are found."""
    acme.land("acme/a.jsonl", event("t1"), event("t2", 1), event("t1", 2))
    assert acme.process() == {"batchItemFailures": []}
    day = datetime.now(UTC).strftime("%Y/%m/%d")
    archived = acme.archived()
    assert set(archived) == {f"acme/t1/{day}/a.jsonl", f"acme/t2/{day}/a.jsonl"}
    assert [line["eventTime"][-3:] for line in archived[f"acme/t1/{day}/a.jsonl"]] == ["00Z", "02Z"]
    ids = {line["eventId"] for lines in archived.values() for line in lines}
    assert {item["eventId"] for item in indexed(acme)} == ids
    assert len(ids) == 3


def test_a_redelivery_changes_nothing(acme: AuditCell) -> None:
    """The same message again: the same archive, the same index."""
    acme.land("acme/a.jsonl", event("t1"), b"broken", event("t2"))
    acme.process()
    before = acme.archived(), indexed(acme)
    acme.process("acme/a.jsonl", "acme/a.jsonl")
    assert (acme.archived(), indexed(acme)) == before


def test_equal_lines_are_events_of_their_own(acme: AuditCell) -> None:
    """Two equal lines of an object, and of two objects, are four events."""
    acme.land("acme/a.jsonl", event(), event())
    acme.land("acme/b.jsonl", event(), event())
    acme.process()
    assert len(indexed(acme)) == 4


def test_a_name_used_twice_loses_nothing(acme: AuditCell) -> None:
    """Other content under an archived object's name is kept beside it; the first stays as it was."""
    acme.land("acme/a.jsonl", event(eventName="first"))
    acme.process()
    (first,) = acme.archived()
    acme.land("acme/a.jsonl", event(eventName="second"))
    acme.process()
    acme.process()
    archived = acme.archived()
    assert len(archived) == 2
    assert archived[first][0]["eventName"] == "first"
    assert {item["eventName"] for item in indexed(acme)} == {"first", "second"}


def test_a_bad_line_does_not_poison_the_rest(acme: AuditCell, capsys: pytest.CaptureFixture[str]) -> None:
    """It is kept under _rejected/ with line number and reason, and counted."""
    acme.land("acme/a.jsonl", event(), b"{", b"", event("t9"), event(eventTime="?"), b"\xff", event("t2"))
    acme.process()
    rejected = {key: lines for key, lines in acme.archived().items() if key.startswith("_rejected/")}
    ((key, lines),) = rejected.items()
    assert key.startswith("_rejected/acme/")
    assert [(line["object"], line["line"]) for line in lines] == [
        ("acme/a.jsonl", line) for line in (2, 5, 6)
    ]
    reasons = [line["reason"] for line in lines]
    assert reasons[0].startswith("no JSON")
    assert "eventTime" in reasons[1]
    assert len(indexed(acme)) == 2
    assert '"Archived": 2, "Rejected": 3, "Waiting": 1' in capsys.readouterr().err


@pytest.mark.parametrize("key", ["rival/a.jsonl", "a.jsonl", "acme.jsonl", "/acme/a.jsonl"])
def test_an_application_writes_under_its_own_prefix_only(acme: AuditCell, key: str) -> None:
    """The application comes from the object's key, so tenants of another are not written; without one, nobody's."""
    acme.land(key, event("t1"))
    acme.process()
    assert indexed(acme) == []
    assert [name.split("/")[0] for name in acme.archived()] == ([] if key[:5] == "rival" else ["_rejected"])


def test_an_application_named_like_the_rejects_has_a_folder_of_its_own(cell: AuditCell) -> None:
    """Its events don't lie among what was rejected of others."""
    cell.key("rejected", "acme")
    cell.key("acme", "t1")
    cell.land("rejected/a.jsonl", event("acme"))
    cell.land("acme/a.jsonl", b"broken")
    cell.process()
    assert {key.split("/")[0] for key in cell.archived()} == {"rejected", "_rejected"}


def test_an_object_holds_a_thousand_events_at_most(acme: AuditCell) -> None:
    """What goes beyond is rejected as one, text and all: a flood of lines costs no flood of records."""
    acme.land("acme/a.jsonl", *([event()] * MAX_EVENTS), b"more", b"", b"and more")
    acme.process()
    rejected = next(lines for key, lines in acme.archived().items() if key.startswith("_rejected/"))
    assert [(line["line"], line["text"].splitlines()) for line in rejected] == [
        (MAX_EVENTS + 1, ["more", "", "and more"])
    ]
    assert len(indexed(acme)) == MAX_EVENTS


def test_names_of_any_kind_are_archived(acme: AuditCell) -> None:
    """A client chooses its names: slashes, blanks and a missing suffix are no obstacle."""
    acme.land("acme/x/y z+.txt", event())
    acme.deliver(acme.notification("acme/x/y z+.txt", key="acme/x/y+z%2B.txt"))
    (key,) = acme.archived()
    assert key.startswith("acme/t1/")
    assert key.endswith("/x%2Fy%20z%2B.txt.jsonl")


def test_a_name_too_long_for_the_archive_gives_way_to_its_digest(acme: AuditCell) -> None:
    """It may be chosen by whoever holds an upload session, and must not stop the processor."""
    name = "ä" * 400
    acme.land(f"acme/{name}", event())
    assert acme.process(f"acme/{name}") == {"batchItemFailures": []}
    (key,) = acme.archived()
    assert key.endswith(f"/{hashlib.sha256(name.encode()).hexdigest()}.jsonl")
    assert len(indexed(acme)) == 1


def test_the_version_that_was_announced_is_read(acme: AuditCell) -> None:
    """A client that overwrites an object before it was processed loses nothing."""
    versions = []
    for name in ("first", "second"):
        acme.land("acme/a.jsonl", event(eventName=name))
        versions.append(s3().head_object(Bucket=acme.bucket("landing"), Key="acme/a.jsonl")["VersionId"])
    for version in versions:
        acme.deliver(acme.notification("acme/a.jsonl", version=version))
    assert {item["eventName"] for item in indexed(acme)} == {"first", "second"}


def test_a_test_event_is_ignored(acme: AuditCell) -> None:
    """S3 sends one when notifications are set up."""
    assert acme.deliver({"Service": "Amazon S3", "Event": "s3:TestEvent"}) == {"batchItemFailures": []}


def test_only_what_failed_is_delivered_again(acme: AuditCell) -> None:
    """A message that can't be processed comes back alone."""
    acme.land("acme/a.jsonl", event())
    assert acme.process("acme/missing.jsonl", "acme/a.jsonl") == {
        "batchItemFailures": [{"itemIdentifier": "m0"}]
    }
    assert len(indexed(acme)) == 1


def test_a_batch_that_fails_as_a_whole_is_an_error_of_the_function(acme: AuditCell) -> None:
    """So that the Errors metric shows a processor that does nothing but fail."""
    with pytest.raises(RuntimeError, match="all 2 messages failed"):
        acme.process("acme/missing.jsonl", "acme/gone.jsonl")


def test_nothing_is_indexed_that_is_not_archived(acme: AuditCell, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the archive fails, the index stays as it was and the message comes back."""
    acme.land("acme/a.jsonl", event())
    monkeypatch.setenv("ARCHIVE_BUCKET", "there-is-no-such-bucket")
    with pytest.raises(RuntimeError):
        acme.process()
    assert indexed(acme) == []
