"""What was done to what is a tenant's stands in the tenant's own log; nobody else can write there as the service."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import cli
from audit.cells import InCell
from audit.handlers.common import aws, internal
from audit.handlers.common.aws import s3
from audit.handlers.common.internal import Actor, Internal, tell, wrong_with
from audit.handlers.ingest import waiting
from audit.handlers.query import exports
from tests.audit.logs import Logs
from tests.audit.support import Audit, AuditCell, event
from tests.audit.test_waiting import tick

AT = datetime(2025, 3, 1, 10, tzinfo=UTC)
DONE = Internal(
    "acme", "t1", "audit.export.created", Actor("tenant-key", "4f1d2c3b"), AT, "one", {"export": "one"}
)


def archived(cell: AuditCell) -> list[Any]:
    """The events of the archive."""
    return [line for lines in cell.archived().values() for line in lines]


def test_an_internal_event_is_one_of_the_tenant_s_events(logs: Logs) -> None:
    """Archived and indexed at the next minute, with an entry in the log, read by its tenant and by no other."""
    cell = logs.cell
    keys = [cell.key("acme", name) for name in ("t1", "t2")]
    tell(DONE)
    assert tick() == {"internal": 1}
    (found,) = cell.search(keys[0]).body["events"]
    assert found == {
        "eventId": DONE.event_id,
        "tenantId": "t1",
        "eventTime": "2025-03-01T10:00:00.000Z",
        "eventName": "audit.export.created",
        "actor": {"id": "4f1d2c3b", "type": "tenant-key"},
        "serviceEvent": True,
        "eventDetails": {"export": "one"},
    }
    assert cell.search(keys[1]).body["events"] == []
    logs.tell(*(key for key in cell.archived() if key.startswith("acme/t1/")))
    assert logs.checkpoint().size == 1
    assert cell.landed() == []
    assert tick() == {}


def test_an_internal_event_waits_for_no_registration(cell: AuditCell) -> None:
    """A tenant may have lost its last key: what was done to it then is kept all the same."""
    tell(DONE)
    cell.key("other")
    assert tick() == {"internal": 1}
    assert [found["eventId"] for found in archived(cell)] == [DONE.event_id]


@pytest.mark.parametrize("between", [False, True], ids=["at once", "a minute later"])
def test_what_is_told_again_is_stored_once_as_it_was_told_first(cell: AuditCell, between: bool) -> None:
    """Whatever it says then."""
    key = cell.key("acme", "t1")
    for number in range(3):
        tell(replace(DONE, details={"number": number}))
        if between:
            tick()
    tick()
    assert [found["eventDetails"] for found in cell.search(key).body["events"]] == [{"number": 0}]
    assert [found["eventDetails"] for found in archived(cell)] == [{"number": 0}]


@pytest.mark.parametrize("killed", ["put_new", "index", "_forget", "publish"])
def test_whoever_takes_it_in_may_be_killed_at_any_step(
    cell: AuditCell, killed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next minute finishes it, and nothing is there twice."""
    key = cell.key("acme", "t1")
    tell(DONE)
    whole = getattr(waiting, killed)
    for after in (False, True):

        def kill(*how: Any, after: bool = after) -> Any:
            if after:
                whole(*how)
            raise RuntimeError("killed")

        with monkeypatch.context() as patch:
            patch.setattr(waiting, killed, kill)
            with pytest.raises(RuntimeError):
                tick()
        tell(DONE)
    tick()
    assert [found["eventId"] for found in cell.search(key).body["events"]] == [DONE.event_id]
    assert len(archived(cell)) == 1
    assert cell.landed() == []


def test_a_customer_can_not_write_as_the_service(cell: AuditCell) -> None:
    """A post is refused with the reason, a line is rejected, by whatever value the mark has."""
    key = cell.key("acme", "t1") and cell.key("acme")
    for mark in (True, False, None, "x"):
        answer = cell.ingest("POST /v1/events", key, body=event(serviceEvent=mark))
        assert answer.code == "invalid_events"
        assert "it marks what the service itself has written" in answer.message
    cell.land("acme/a.jsonl", event(serviceEvent=True))
    cell.process()
    ((place, (record,)),) = cell.archived().items()
    assert place.startswith("_rejected/acme/")
    assert record["reason"].startswith("serviceEvent: found true, expected nothing")


@pytest.mark.parametrize(
    "name", ["_waiting/_internal/acme/t1/x.jsonl", "../_waiting/_internal/acme/t1/x.jsonl"]
)
def test_no_upload_gets_to_where_internal_events_lie(cell: AuditCell, name: str) -> None:
    """A session's form is good below the application's own folder alone, and so is what is archived of it."""
    key = cell.key("acme", "t1") and cell.key("acme")
    line = json.dumps({**DONE.event}).encode()
    cell.land(f"acme/{name}", line)
    cell.process()
    assert tick() == {}
    assert all(place.startswith("_rejected/acme/") for place in cell.archived())
    form = cell.ingest("GET /applications/session", key).body["form"]
    policy = json.loads(base64.b64decode(form["policy"]))
    assert ["starts-with", "$key", "acme/"] in policy["conditions"]


@pytest.mark.parametrize(
    "changed",
    [
        {"serviceEvent": False},
        {"tenantId": "t2"},
        {"eventId": None},
        {"eventName": ""},
        {"actor": {}, "eventTime": "yesterday"},
    ],
)
def test_what_is_no_internal_event_of_that_tenant_is_not_taken_in(
    cell: AuditCell, changed: dict[str, object]
) -> None:
    """Whoever may put one there can't write a customer's event, nor another tenant's: it fails, and is told of."""
    body = json.dumps({**DONE.event, **changed}).encode()
    key = f"{internal.FOLDER}/acme/t1/2025/03/01/x.jsonl"
    s3().put_object(Bucket=cell.bucket("landing"), Key=key, Body=body)
    cell.key("other")
    with pytest.raises(RuntimeError, match="1 objects of what waits failed"):
        tick()
    assert cell.archived() == {}


TEXT = st.text(min_size=1, max_size=40)


@given(
    st.sampled_from(["tenant-key", "vendor-staff", "service"]), TEXT, st.dictionaries(TEXT, TEXT, max_size=3)
)
def test_an_internal_event_is_an_event(kind: Any, who: str, details: dict[str, str]) -> None:
    """Whoever did it, and whatever is said of it; told of another tenant it is none."""
    made = replace(DONE, actor=Actor(kind, who), details=details).event
    assert wrong_with(made, "acme", "t1") == ""
    assert wrong_with(made, "acme", "t2") != ""


def test_what_is_no_event_is_not_told(cell: AuditCell) -> None:
    """It is the caller's mistake, and nothing is written."""
    for wrong in (
        replace(DONE, name=""),
        replace(DONE, tenant=".."),
        replace(DONE, details={"x": "x" * 40_000}),
    ):
        with pytest.raises(ValueError, match=r"audit|event"):
            tell(wrong)
    assert cell.landed() == []


def test_an_export_is_told_of_before_it_is_one(cell: AuditCell, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the key that asked, whose hash `cellwave audit keys` shows; and where it can't be told, there is none."""
    key = cell.key("acme", "t1")
    hashes = [found["hash"] for found in cell.applications["acme"]["keys"]]
    asked = {"format": "csv", "eventName": "login"}
    begun = cell.call(exports_handler(), "POST /v1/exports", key, body=asked).body
    tick()
    (found,) = cell.search(key, serviceEvent="true").body["events"]
    assert found["actor"] == {"id": hashes[0][:12], "type": "tenant-key"}
    assert found["eventDetails"] == {
        "export": begun["id"],
        "format": "csv",
        "filters": {"eventName": "login"},
    }

    def refuses(*_: object) -> None:
        raise RuntimeError("no landing bucket")

    monkeypatch.setattr(exports, "tell", refuses)
    assert cell.call(exports_handler(), "POST /v1/exports", key, body=asked).status == 500
    listed = cell.call(exports_handler(), "GET /v1/exports", key).body["exports"]
    assert [one["id"] for one in listed] == [begun["id"]]


def exports_handler() -> Any:
    """The query API."""
    from audit.handlers.query import api

    return api.handler


def test_internal_events_are_asked_for_alone_or_left_out(cell: AuditCell) -> None:
    """Without the parameter all are answered; another value than true or false is refused."""
    key = cell.key("acme", "t1")
    tell(DONE)
    cell.land("acme/a.jsonl", event())
    cell.process("acme/a.jsonl")
    tick()
    found = {
        asked: [one["eventName"] for one in cell.search(key, **dict(filter(None, [asked]))).body["events"]]
        for asked in (None, ("serviceEvent", "true"), ("serviceEvent", "false"))
    }
    assert found == {
        None: ["login", "audit.export.created"],
        ("serviceEvent", "true"): ["audit.export.created"],
        ("serviceEvent", "false"): ["login"],
    }
    assert "expected true or false" in cell.search(key, serviceEvent="yes").message


@dataclass(frozen=True)
class Here(InCell):
    """A cell of the fleet, whose buckets and tables are those of the test."""

    account: str = ""

    def name(self, kind: str) -> str:
        """Of the test's cell."""
        return f"test-{kind}"

    def bucket(self, kind: str) -> str:
        """Of the test's cell."""
        return f"test-{self.account}-{kind}"


@pytest.fixture
def here(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> Logs:
    """A cell that the command line takes for eu-west-1, where two tenants have events."""
    account = logs.cell.account
    monkeypatch.setattr(
        cli, "in_cell", lambda _, place: Here(place, "eu.audit.example", boto3.Session(), account)
    )
    monkeypatch.setenv("CELLWAVE_ACTOR", "kim of support")
    alias = boto3.client("kms").create_alias
    alias(AliasName="alias/test-log", TargetKeyId=aws.setting("LOG_KEY"))
    for tenant in ("t1", "t2"):
        logs.tell(logs.archive(2, tenant=tenant))
    return logs


COMMANDS = [
    (("reindex", "eu-west-1"), "audit.index.made", {"t1", "t2"}),
    (("reindex", "eu-west-1", "--of", "acme"), "audit.index.made", {"t1", "t2"}),
    (("reindex", "eu-west-1", "--of", "acme/t1"), "audit.index.made", {"t1"}),
    (("relog", "eu-west-1", "--of", "acme/t2"), "audit.log.fed", {"t2"}),
    (("verify", "eu-west-1", "acme/t1"), "audit.log.verified", {"t1"}),
]


@pytest.mark.parametrize(("command", "name", "tenants"), COMMANDS, ids=[" ".join(c[0]) for c in COMMANDS])
def test_what_the_vendor_s_people_read_or_change_is_told_in_the_tenant_s_log(
    here: Logs, audit: Audit, command: tuple[str, ...], name: str, tenants: set[str]
) -> None:
    """Whoever gave the command, in the log of each tenant that it is about and of no other."""
    assert audit(*command)[0] == 0
    assert tick() == {"internal": len(tenants)}
    found = [line for line in archived(here.cell) if line.get("serviceEvent")]
    assert {line["tenantId"] for line in found} == tenants
    assert {line["eventName"] for line in found} == {name}
    assert all(line["actor"] == {"id": "kim of support", "type": "vendor-staff"} for line in found)


@pytest.mark.parametrize(("command", "name", "tenants"), COMMANDS, ids=[" ".join(c[0]) for c in COMMANDS])
def test_what_can_not_be_told_is_not_done(
    here: Logs, audit: Audit, command: tuple[str, ...], name: str, tenants: set[str]
) -> None:
    """Exit code 1; nothing is read, nothing is changed."""
    boto3.client("s3").delete_bucket(Bucket=here.cell.bucket("landing"))
    code, out, said = audit(*command)
    assert code == 1
    assert "NoSuchBucket" in said
    assert out == ""
    assert boto3.resource("dynamodb").Table("test-index").scan()["Items"] == []
