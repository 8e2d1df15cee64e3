"""A tenant checks its own log by the public API, and no other's."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import pytest

from audit.handlers.common.aws import s3
from audit.handlers.log.append import CHECKPOINT
from audit.handlers.log.store import Store
from audit.handlers.log.tree import WIDTH
from audit.handlers.log.verifier import (
    Checkpoint,
    Entry,
    Key,
    check_consistency,
    check_inclusion,
    leaf_hash,
    open_note,
)
from audit.handlers.query import api
from tests.audit.logs import ORIGIN, Logs
from tests.audit.support import Answer, AuditCell, event


@dataclass
class Tenant:
    """Someone with a tenant's key, who asks the API and checks what it says."""

    cell: AuditCell
    key: str

    def ask(self, path: str, **query: object) -> Answer:
        """What the query API answers."""
        return self.cell.call(api.handler, f"GET /v1/{path}", self.key, **query)

    def opened(self, body: Any) -> Checkpoint:
        """A checkpoint beside a proof, signed by the key that the API tells."""
        key = Key.parse(self.ask("checkpoint").body["key"])
        return open_note(body["checkpoint"], key)


@pytest.fixture
def tenant(logs: Logs) -> Tenant:
    """Of acme's tenant t1."""
    logs.cell.key("acme")
    return Tenant(logs.cell, logs.cell.key("acme", "t1"))


def flow(logs: Logs, *events: dict[str, Any], name: str = "a") -> None:
    """Events go all the way: archived, indexed, logged."""
    logs.cell.land(f"acme/{name}.jsonl", *events)
    logs.cell.process(f"acme/{name}.jsonl")
    logs.tell(*(key for key in logs.objects("archive") if key.endswith(f"/{name}.jsonl")))


def test_an_event_that_is_read_is_proven_to_be_in_the_log(logs: Logs, tenant: Tenant) -> None:
    """The line that the commitment is over is the event as the API answers it."""
    odd = event(eventDetails={"sum": 1.5, "name": "ünïcode", "none": None})
    flow(logs, event(), odd)
    read = tenant.ask("events").body["events"]
    assert len(read) == 2
    for found in read:
        body = tenant.ask("proof", eventId=found["eventId"]).body
        entry = Entry.parse(body["entry"].encode())
        line = json.dumps(found).encode()
        assert Entry.of(found["eventId"], entry.at, base64.b64decode(body["salt"]), line) == entry
        checkpoint = tenant.opened(body)
        assert (checkpoint.origin, checkpoint.size) == (f"{ORIGIN}/acme/t1", 2)
        proof = [base64.b64decode(one) for one in body["proof"]]
        check_inclusion(leaf_hash(entry.data), body["index"], checkpoint.size, checkpoint.root, proof)


def test_a_kept_checkpoint_is_the_beginning_of_today_s(logs: Logs, tenant: Tenant) -> None:
    """By a proof from any size that the log had."""
    sizes = [1, WIDTH, WIDTH + 9]
    kept: list[Checkpoint] = []
    for number, size in enumerate(sizes):
        logs.tell(logs.archive(size - (kept[-1].size if kept else 0), object_=str(number)))
        kept.append(tenant.opened(tenant.ask("checkpoint").body))
    assert [one.size for one in kept] == sizes
    for old in (Checkpoint(ORIGIN, 0, b""), *kept):
        body = tenant.ask("consistency", from_=old.size).body
        new = tenant.opened(body)
        proof = [base64.b64decode(one) for one in body["proof"]]
        if old.size:
            check_consistency(old.size, old.root, new.size, new.root, proof)
        else:
            assert proof == []


def test_nobody_is_told_of_another_s_log(logs: Logs, tenant: Tenant) -> None:
    """An event of another tenant's is in no log that the key reads; the checkpoint is one's own."""
    logs.cell.key("acme", "t2")
    flow(logs, event(), event("t2", second=1), event("t2", second=2))
    other = Tenant(logs.cell, logs.cell.key("acme", "t2"))
    foreign = [found["eventId"] for found in logs.cell.search(other.key).body["events"]]
    assert len(foreign) == 2
    for one in foreign:
        answer = tenant.ask("proof", eventId=one)
        assert (answer.status, answer.code) == (404, "not_logged")
    assert [tenant.opened(who.ask("checkpoint").body).size for who in (tenant,)] == [1]
    assert other.opened(other.ask("checkpoint").body).size == 2
    application = Tenant(logs.cell, logs.cell.key("acme"))
    assert application.ask("checkpoint").status == 403


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        ("proof", {}, "eventId: is missing"),
        ("proof", {"eventId": "x"}, "eventId: found 'x'"),
        ("proof", {"eventId": ["0" * 32, "1" * 32]}, "once"),
        ("proof", {"eventId": "0" * 32, "tenantId": "t2"}, "tenantId: unknown"),
        ("consistency", {"from_": "-1"}, "from: found '-1'"),
        ("consistency", {"from_": "01"}, "from: found '01'"),
        ("consistency", {"from_": 4}, "from: found 4, expected 0 to 3"),
    ],
)
def test_what_can_t_be_meant_is_refused(
    logs: Logs, tenant: Tenant, path: str, query: dict[str, object], said: str
) -> None:
    """400 says what would be right."""
    logs.tell(logs.archive(3))
    answer = tenant.ask(path, **query)
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert said in answer.message


def test_what_is_not_logged_yet_is_not_there(logs: Logs, tenant: Tenant) -> None:
    """404, before there is a log and for an event that the newest checkpoint does not hold."""
    for path, query in (("checkpoint", {}), ("proof", {"eventId": "0" * 32}), ("consistency", {"from_": 0})):
        answer = tenant.ask(path, **query)
        assert (answer.status, answer.code) == (404, "not_logged")
    logs.tell(logs.archive(1))
    assert tenant.ask("proof", eventId="f" * 32).status == 404


def test_a_log_that_grows_while_it_is_read_is_read_again(
    logs: Logs, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tile that was not full is gone, since a wider one took its place."""
    logs.tell(logs.archive(3))
    event_id = next(iter(logs.events()))
    note = logs.store().read(CHECKPOINT)
    logs.tell(logs.archive(3))
    newest = logs.store().read(CHECKPOINT)
    notes = iter([note, newest])
    real = Store.read
    monkeypatch.setattr(
        Store, "read", lambda store, path: next(notes) if path == CHECKPOINT else real(store, path)
    )
    answer = tenant.ask("proof", eventId=event_id)
    assert answer.status == 200
    assert answer.body["checkpoint"] == (newest or b"").decode()


def test_a_tile_that_somebody_took_away_is_the_service_s_fault(logs: Logs, tenant: Tenant) -> None:
    """500, and no proof of anything else."""
    logs.tell(logs.archive(3))
    event_id = next(iter(logs.events()))
    s3().delete_object(Bucket=logs.cell.bucket("log"), Key="acme/t1/tile/0/000.p/3")
    assert tenant.ask("proof", eventId=event_id).status == 500
