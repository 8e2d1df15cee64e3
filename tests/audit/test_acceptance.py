"""Accepted means archived, whatever becomes of the directory, and however old a process's copy of it is."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.handlers.common import directory
from audit.handlers.common.aws import s3
from audit.handlers.common.directory import Copy, Directory, copied_to
from tests.audit.support import AuditCell, event

TENANTS = ("t1", "t2", "t3")


def register(cell: AuditCell, *tenants: str) -> None:
    """Write the directory as it is with these tenants of acme, and tell no process."""
    cell.applications["acme"]["tenants"] = list(tenants)
    content = json.dumps({"applications": cell.applications})
    s3().put_object(Bucket=cell.bucket("config"), Key="directory.json", Body=content.encode())


def aged_copy() -> Copy:
    """A process's copy that was read just now, and is used for a minute."""
    copy = Copy()
    copy.get()
    return copy


def upload(session: Any, name: str, *lines: object, **fields: str) -> int:
    """Upload lines by a session's form; the status."""
    content = "".join(f"{json.dumps(line)}\n" for line in lines)
    form = {**session["form"], **fields, "key": name}
    return httpx.post(session["uploadUrl"], data=form, files={"file": content.encode()}).status_code


def ids(cell: AuditCell) -> list[tuple[str, str]]:
    """The archive's events: the object, and the id."""
    return [(name, line["eventId"]) for name, lines in cell.archived().items() for line in lines]


def tenants_archived(cell: AuditCell) -> set[str]:
    """The tenants (or _rejected) that the archive has something of."""
    return {"/".join(key.split("/")[:2]) for key in cell.archived()}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    states=st.lists(st.sets(st.sampled_from(TENANTS), min_size=1), min_size=1, max_size=4),
    api=st.integers(0, 3),
    processor=st.integers(0, 3),
    wanted=st.lists(st.sampled_from(TENANTS), min_size=1, max_size=3),
)
def test_whatever_is_accepted_is_archived(
    cell: AuditCell, states: list[set[str]], api: int, processor: int, wanted: list[str]
) -> None:
    """The API and the processor may have any two copies of a directory that goes on changing."""
    key = cell.key("acme")
    copies = []
    for tenants in states:
        register(cell, *sorted(tenants))
        copies.append(aged_copy())
    before = set(cell.landed())
    with copied_to(copies[min(api, len(copies) - 1)]):
        answer = cell.ingest("POST /v1/events", key, body={"events": [event(tenant) for tenant in wanted]})
    known = states[min(api, len(states) - 1)]
    assert (answer.status, answer.body["waiting"]) == (202, sorted(set(wanted) - known))
    (landed,) = set(cell.landed()) - before
    with copied_to(copies[min(processor, len(copies) - 1)]):
        assert cell.process(landed) == {"batchItemFailures": []}
    waiting = {
        name.split("/")[2] for name in cell.landed() if name.startswith("_waiting") and name not in before
    }
    newest = states[-1]
    assert waiting == set(wanted) - known - newest - states[min(processor, len(states) - 1)]
    kept = {identity for name, identity in ids(cell) if name.split("/")[1] not in waiting}
    assert kept >= {
        identity
        for tenant, identity in zip(wanted, answer.body["eventIds"], strict=True)
        if tenant not in waiting
    }
    assert not any(name.startswith("_rejected") for name in cell.archived())


@pytest.mark.parametrize("gone", [False, True], ids=["new at the upload", "removed after the session"])
def test_an_upload_is_judged_by_its_session_or_by_now(cell: AuditCell, gone: bool) -> None:
    """A tenant that was registered at either moment is archived by a processor whose copy knows nothing of it."""
    key = cell.key("acme")
    stale = aged_copy()
    register(cell, *(["t1"] if gone else []))
    directory.forget()
    session = cell.ingest("GET /applications/session", key).body
    register(cell, *([] if gone else ["t1"]))
    assert upload(session, "acme/a.jsonl", event("t1")) == 204
    with copied_to(stale):
        cell.process()
    assert tenants_archived(cell) == {"acme/t1"}


def test_a_tenant_that_never_was_waits(cell: AuditCell) -> None:
    """Only after the directory was read once more."""
    session = cell.ingest("GET /applications/session", cell.key("acme")).body
    cell.key("rival", "t1")
    assert upload(session, "acme/a.jsonl", event("t1")) == 204
    cell.process()
    assert tenants_archived(cell) == set()
    assert sorted(cell.landed())[0].startswith("_waiting/acme/t1/")


def test_a_client_can_not_say_what_was_known_when(cell: AuditCell) -> None:
    """S3 takes the fields of the form with the API's values alone, so another version is refused, and so is the word
    that the API has checked the events."""
    key = cell.key("acme", "t1") and cell.key("acme")
    old = s3().head_object(Bucket=cell.bucket("config"), Key="directory.json")["VersionId"]
    register(cell)
    directory.forget()
    session = cell.ingest("GET /applications/session", key).body
    assert session["form"]["x-amz-meta-directory-version"] != old
    forged: tuple[dict[str, str], ...] = (
        {"x-amz-meta-directory-version": old},
        {"x-amz-meta-accepted-as": "post"},
        {"x-amz-meta-anything": "else"},
    )
    for fields in forged:
        assert upload(session, "acme/a.jsonl", event("t1"), **fields) == 403
    assert cell.landed() == []


def test_nothing_is_decided_while_the_directory_can_not_be_read(cell: AuditCell) -> None:
    """The message comes back, and is archived once it can."""
    session = cell.ingest("GET /applications/session", cell.key("acme")).body
    stale = aged_copy()
    register(cell, "t1")
    assert upload(session, "acme/a.jsonl", event("t1")) == 204
    with pytest.MonkeyPatch.context() as patch, copied_to(stale):
        patch.setenv("CONFIG_BUCKET", "there-is-no-such-bucket")
        with pytest.raises(RuntimeError, match="all 1 messages failed"):
            cell.process()
    assert cell.archived() == {}
    with copied_to(stale):
        cell.process()
    assert tenants_archived(cell) == {"acme/t1"}


class Moment:
    """A clock that stands still."""

    now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.mark.parametrize("trouble", ["no bucket", "no JSON", "no directory", "no keys"])
def test_the_last_good_directory_serves_on(
    cell: AuditCell, trouble: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While S3 errs, or holds what is none: with a warning, and asking every few seconds, not at every request."""
    key = cell.key("acme")
    copy = Copy(clock := Moment())
    with copied_to(copy):
        assert cell.ingest("GET /applications/session", key).status == 200
        broken = {
            "no JSON": b"{",
            "no directory": b"[]",
            "no keys": b'{"applications": {"acme": {"keys": [1]}}}',
        }
        if trouble in broken:
            s3().put_object(Bucket=cell.bucket("config"), Key="directory.json", Body=broken[trouble])
        else:
            monkeypatch.setenv("CONFIG_BUCKET", "there-is-no-such-bucket")
        clock.now += directory.FRESH
        for _ in range(3):
            assert cell.ingest("GET /applications/session", key).status == 200
        assert len(caplog.records) == 1
        clock.now += directory.RETRY
        assert cell.ingest("GET /applications/session", key).status == 200
        assert len(caplog.records) == 2
        monkeypatch.setenv("CONFIG_BUCKET", cell.bucket("config"))
        register(cell)
        cell.applications.clear()
        s3().put_object(Bucket=cell.bucket("config"), Key="directory.json", Body=b'{"applications": {}}')
        clock.now += directory.RETRY
        assert cell.ingest("GET /applications/session", key).status == 401


def test_without_any_directory_nobody_is_answered(cell: AuditCell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first read that fails is an error of the service, not an unknown key; the next one may succeed."""
    key = cell.key("acme")
    with monkeypatch.context() as patch:
        patch.setenv("CONFIG_BUCKET", "there-is-no-such-bucket")
        assert cell.ingest("GET /applications/session", key).status == 500
        with pytest.raises(ClientError):
            directory.directory()
    assert cell.ingest("GET /applications/session", key).status == 200


def test_a_version_that_is_gone_counts_for_nothing(cell: AuditCell) -> None:
    """The newest directory decides then."""
    cell.key("acme", "t1")
    missing = s3().put_object(Bucket=cell.bucket("config"), Key="other", Body=b"")["VersionId"]
    assert Copy().at(missing) == Directory({}, missing)
