"""What was done to what is a tenant's stands in the tenant's own log; nobody else can write there as the service."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import cli, notes, publish
from audit import keys as known
from audit.cells import InCell
from audit.handlers.common import aws, directory, internal
from audit.handlers.common.aws import s3
from audit.handlers.common.internal import Actor, Internal, tell, wrong_with
from audit.handlers.directory import pull, telling
from audit.handlers.ingest import waiting
from audit.handlers.query import exports
from cellwave.fleet.parse import parse_fleet
from cellwave.project import find_project
from tests.audit.logs import Logs
from tests.audit.support import Audit, AuditCell, event
from tests.audit.test_waiting import tick

FLEET = parse_fleet(find_project(Path(__file__).parent).config_files())
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


@pytest.mark.parametrize("killed", ["archive_first", "index", "_forget", "publish"])
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
        logs.cell.key("acme", tenant)
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


@pytest.fixture
def region(control: AuditCell, monkeypatch: pytest.MonkeyPatch) -> AuditCell:
    """A cell of the region eu, which nobody was ever told to, and its control plane."""
    nobody = b'{"applications": {}}'
    s3().put_object(Bucket=control.bucket("config"), Key="directory.json", Body=nobody)
    monkeypatch.setenv("CELLWAVE_ACTOR", "kim of support")
    return control


def arrive() -> None:
    """The next minute's pull, and what it brings taken in."""
    pull.handler()
    directory.forget()
    tick()


def names(cell: AuditCell, tenant: str = "t1") -> list[str]:
    """The names of what a tenant's archive tells, in the order of time."""
    found = [line for line in archived(cell) if line["tenantId"] == tenant]
    return [line["eventName"] for line in sorted(found, key=lambda line: line["eventTime"])]


def test_what_is_done_with_a_tenant_s_keys_is_told_in_its_log(region: AuditCell, audit: Audit) -> None:
    """By whom, of which key (by how its hash begins, never the key), with what it may do; an application's key is told
    of in the logs of its tenants."""
    key = json.loads(audit("key", "acme/t1", "--scope", "read", "--days", "30")[1])["key"]
    hashed = hashlib.sha256(base64.b64decode(key)).hexdigest()
    for command in (("key", "acme"), ("rotate", hashed[:12]), ("revoke", hashed[:12])):
        assert audit(*command)[0] == 0
    arrive()
    assert sorted(names(region)) == [
        *["audit.key.created"] * 3,
        "audit.key.revoked",
        "audit.key.rotated",
        "audit.tenant.registered",
    ]
    first = next(line for line in archived(region) if line["eventDetails"].get("key") == hashed[:12])
    assert first["actor"] == {"id": "kim of support", "type": "vendor-staff"}
    assert (first["eventDetails"]["kind"], first["eventDetails"]["scopes"]) == ("tenant", ["read"])
    secret = base64.b64decode(key).decode().rsplit(",", maxsplit=1)[-1]
    assert secret not in json.dumps(region.archived())


def test_a_cell_is_told_once_and_of_its_own_region_alone(region: AuditCell, audit: Audit) -> None:
    """However often it asks, and whatever it forgets."""
    audit("key", "acme/t1", "--region", "eu")
    audit("key", "acme/t2", "--region", "us")
    for _ in range(2):
        arrive()
    assert sorted(names(region)) == ["audit.key.created", "audit.tenant.registered"]
    assert names(region, "t2") == []
    s3().delete_object(Bucket=region.bucket("config"), Key=telling.OBJECT)
    arrive()
    assert len(names(region)) == 2


def test_a_cell_goes_on_where_it_was(
    region: AuditCell, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is more than a minute's work is the next minute's; so is what fails, and the keys come all the same."""
    monkeypatch.setattr(telling, "MOST", 3)
    made = [json.loads(audit("key", f"acme/t{number}")[1])["key"] for number in range(4)]

    def fails(*_: object) -> None:
        raise RuntimeError("no landing bucket")

    with monkeypatch.context() as patch:
        patch.setattr(telling, "tell", fails)
        with pytest.raises(RuntimeError):
            pull.handler()
    directory.forget()
    assert [region.search(key).status for key in made] == [200] * 4
    counts = []
    for _ in range(4):
        arrive()
        counts.append(len(archived(region)))
    assert counts == [3, 6, 8, 8]


def test_a_control_plane_that_can_not_write_it_down_gives_no_key(control: AuditCell, audit: Audit) -> None:
    """Nor takes one away: the error says what to deploy."""
    audit("key", "acme/t1")
    boto3.client("dynamodb").delete_table(TableName=notes.EVENTS_TABLE)
    assert [audit("key", "acme/t1")[0], audit("revoke", known.list_keys()[0].hash)[0]] == [1, 1]
    assert len(known.list_keys()) == 1


@pytest.mark.parametrize(("tenants", "told"), [(1, 1), (notes.MOST_TENANTS, notes.MOST_TENANTS), (101, 0)])
def test_a_key_of_an_application_is_told_of_in_so_many_logs_at_most(
    control: AuditCell, tenants: int, told: int
) -> None:
    """Beyond a hundred tenants in none's: it is the application's own matter."""
    table = boto3.resource("dynamodb").Table(notes.TENANTS_TABLE)
    with table.batch_writer() as batch:
        for number in range(tenants):
            batch.put_item(Item={"applicationId": "acme", "tenantId": f"t{number}"})
    notes.note("acme", None, "audit.key.created", {})
    assert len(publish.scanned(notes.EVENTS_TABLE)) == told


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["eu", "us", ""])), max_size=8), st.integers(1, 4)
)
def test_each_note_of_the_last_two_weeks_is_told_once_in_an_order_that_stays(
    rows: list[tuple[int, str]], cuts: int
) -> None:
    """Whichever publication it was first in, a cell that remembers the last one it was told misses none."""
    now = 100.0 * 86400
    made = [
        {"id": f"{n:03}", "applicationId": "a", "tenantId": "t", "name": "n", "actor": "x", "details": "{}"}
        | {"at": int((now - days * 86400) * 1000) + 1}
        | ({"regions": [region]} if region else {})
        for n, (days, region) in enumerate(rows)
    ]
    seen, position, snapshot = [], (0, ""), list[dict[str, Any]]()
    for cut in range(1, cuts + 1):
        known_so_far = made[::-1][: len(made) * cut // cuts]  # the oldest id is published last
        snapshot = notes.told(known_so_far, "eu", snapshot, cut, now)
        new = [event for event in snapshot if (event["since"], event["id"]) > position]
        seen += [event["id"] for event in new]
        position = (new[-1]["since"], new[-1]["id"]) if new else position
    expected = [row["id"] for row, (days, of) in zip(made, rows, strict=True) if days <= 14 and of != "us"]
    assert sorted(seen) == expected
