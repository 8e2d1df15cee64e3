"""A cell is helped: its index comes from the archive alone, and dead letters go back once."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import boto3
import pytest

from audit import cli
from audit.cells import InCell
from audit.handlers.common.aws import s3, table
from audit.handlers.log import sequencer
from audit.repair import announce, redrive, reindex
from cellwave.errors import CellwaveError
from tests.audit.logs import Logs
from tests.audit.support import Audit, AuditCell, event

ODD = json.dumps(event(second=9, eventDetails={})).replace(
    "{}", '{"sum": 1E2, "x": -0, "y": 0.40000000000000002}'
)


def emptied() -> None:
    """Lose the index."""
    items = table("test-index").scan()["Items"]
    assert items
    for item in items:
        table("test-index").delete_item(Key={"pk": item["pk"], "sk": item["sk"]})


def made_anew(cell: AuditCell, prefix: str = "") -> list[int]:
    """How many events of each archive object are in the index again."""
    return list(reindex(s3(), cell.bucket("archive"), table("test-index"), prefix))


def test_an_index_that_is_lost_comes_back_from_the_archive(cell: AuditCell) -> None:
    """Every item as it was, to the digits of its numbers; what was rejected is no event."""
    cell.key("acme")
    keys = [cell.key("acme", name) for name in ("t1", "t2")]
    cell.land("acme/a.jsonl", event(), event("t2", actor={"id": "u1"}), b"{no json", ODD.encode())
    cell.process()
    before = sorted(table("test-index").scan()["Items"], key=lambda item: str(item["sk"]))
    assert len(before) == 3
    emptied()
    assert [cell.search(key).body["events"] for key in keys] == [[], []]
    assert sorted(made_anew(cell)) == [1, 2]
    assert sorted(table("test-index").scan()["Items"], key=lambda item: str(item["sk"])) == before
    assert cell.search(keys[1], actorId="u1").body["events"][0]["actor"] == {"id": "u1"}


def test_what_stands_in_an_event_s_place_is_put_right(cell: AuditCell) -> None:
    """Also an item of an older release, which knew less to filter by; a second run changes nothing."""
    cell.key("acme")
    cell.key("acme", "t1")
    cell.land("acme/a.jsonl", event(actor={"id": "u1"}))
    cell.process()
    (right,) = table("test-index").scan()["Items"]
    table("test-index").put_item(
        Item={name: right[name] for name in ("pk", "sk", "eventId")} | {"event": "{}"}
    )
    for _ in range(2):
        made_anew(cell)
        assert table("test-index").scan()["Items"] == [right]


def test_one_tenant_s_part_can_be_made_alone(cell: AuditCell) -> None:
    """And no tenant's whose name begins so."""
    cell.key("acme")
    one, other = cell.key("acme", "t1"), cell.key("acme", "t10")
    cell.land("acme/a.jsonl", event(), event("t10"))
    cell.process()
    emptied()
    assert made_anew(cell, "acme/t1/") == [1]
    assert [len(cell.search(key).body["events"]) for key in (one, other)] == [1, 0]


def queues() -> tuple[Any, str, str]:
    """SQS, a queue of dead letters and the one that they came from."""
    sqs = boto3.client("sqs")
    dead, queue = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("test-dead", "test-queue"))
    return sqs, dead, queue


def taken(sqs: Any, queue: str) -> list[str]:
    """The bodies of all that a queue has."""
    found: list[str] = []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        found += [message["Body"] for message in messages]
    return found


@pytest.mark.parametrize("count", [0, 1, 10, 23])
def test_dead_letters_go_back_as_they_were(cell: AuditCell, count: int) -> None:
    """All of them, and the dead-letter queue is empty."""
    sqs, dead, queue = queues()
    bodies = [json.dumps({"Records": [number]}) for number in range(count)]
    for body in bodies:
        sqs.send_message(QueueUrl=dead, MessageBody=body)
    assert redrive(sqs, dead, queue) == count
    assert sorted(taken(sqs, queue)) == sorted(bodies)
    assert taken(sqs, dead) == []


def test_what_the_queue_does_not_take_stays_dead(cell: AuditCell) -> None:
    """What it took before is not sent again, and the error says why."""
    sqs, dead, queue = queues()

    class Choosy:
        """SQS, but for a queue that takes only some."""

        def __init__(self, takes: Sequence[str]) -> None:
            self.takes = takes

        def __getattr__(self, name: str) -> Any:
            return getattr(sqs, name)

        def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, str]]) -> Any:
            good = [entry for entry in Entries if entry["MessageBody"] in self.takes]
            answer = sqs.send_message_batch(QueueUrl=QueueUrl, Entries=good) if good else {}
            refused = [{"Id": e["Id"], "Message": "too large"} for e in Entries if e not in good]
            return {"Successful": answer.get("Successful", []), "Failed": refused}

    for body in ("a", "b"):
        sqs.send_message(QueueUrl=dead, MessageBody=body)
    choosy: Any = Choosy(["a"])
    sqs.set_queue_attributes(QueueUrl=dead, Attributes={"VisibilityTimeout": "0"})
    with pytest.raises(CellwaveError, match="too large"):
        redrive(choosy, dead, queue)
    assert taken(sqs, queue) == ["a"]
    (left,) = sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10)["Messages"]
    assert left["Body"] == "b"


def test_what_was_archived_before_there_were_logs_is_logged(logs: Logs) -> None:
    """Of all tenants or of one; what has an entry gets no second."""
    sqs, queue = boto3.client("sqs"), os.environ["LOG_QUEUE"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "600"})
    logs.tell(logs.archive(2))
    for number in range(3):
        logs.archive(1, object_=f"before {number}")
        logs.archive(1, tenant="t10")
    archive = logs.cell.bucket("archive")
    assert sum(announce(s3(), sqs, archive, queue, "acme/t1/")) == 4
    sequencer.handler()
    assert logs.checkpoint().size == 5
    assert sum(announce(s3(), sqs, archive, queue)) == 7
    sequencer.handler()
    assert [logs.checkpoint(tenant).size for tenant in ("t1", "t10")] == [5, 3]


@pytest.mark.parametrize(
    ("asked", "queue"), [((), "ingest"), *(((("--queue", name), name)) for name in cli.QUEUES[1:])]
)
def test_the_dead_letters_of_each_queue_can_be_sent_back(
    cell: AuditCell, audit: Audit, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...], queue: str
) -> None:
    """Of ingest without a word; those of the others stay."""
    monkeypatch.setattr(cli, "in_cell", lambda _, place: InCell(place, "", boto3.Session()))
    sqs, urls = boto3.client("sqs"), dict[str, str]()
    for name in cli.QUEUES:
        for full in (name, f"{name}-dead"):
            urls[full] = sqs.create_queue(QueueName=f"eu-west-1-{full}")["QueueUrl"]
        sqs.send_message(QueueUrl=urls[f"{name}-dead"], MessageBody=name)
    code, out, _ = audit("redrive", "eu-west-1", *asked, "--json")
    assert (code, json.loads(out)) == (0, {"cell": "eu-west-1", "queue": queue, "sent": 1})
    left = {name: taken(sqs, url) for name, url in urls.items()}
    expected = {f"{name}-dead": [name] for name in cli.QUEUES if name != queue}
    assert {name: bodies for name, bodies in left.items() if bodies} == expected | {queue: [queue]}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("reindex", "nowhere"), "one of ap-south-1, "),
        (("redrive", "nowhere"), "one of ap-south-1, "),
        (("relog", "nowhere"), "one of ap-south-1, "),
        (("relog", "eu-west-1", "--of", "a,b"), "1 to 64 of"),
        (("redrive", "eu-west-1", "--queue", "ingest-dead"), "one of ingest, log, exports, streams"),
        (("reindex", "eu-west-1", "--of", "a,b"), "1 to 64 of"),
        (("reindex", "eu-west-1", "--of", "acme/.."), "1 to 128 of"),
    ],
)
def test_what_is_nobody_s_is_refused(audit: Audit, command: tuple[str, ...], said: str) -> None:
    """Exit code 2 and what would be right, before anything is asked of AWS."""
    code, _, errors = audit(*command)
    assert code == 2
    assert said in errors
