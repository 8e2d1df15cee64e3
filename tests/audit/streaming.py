"""A cell's streams: what its stacks would make for them, a tenant that has some, and their worker."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from audit.handlers.common import aws
from audit.handlers.query import api
from audit.handlers.stream import rows, sender
from audit.handlers.stream.health import Health
from tests.audit.logs import Logs
from tests.audit.receivers import HOSTS, Receiver
from tests.audit.support import Answer, create_table

URL = f"https://{HOSTS[0]}/hook"


class Context:
    """What Lambda says of an invocation."""

    def get_remaining_time_in_millis(self) -> float:
        """As Lambda's."""
        return 120_000.0


@dataclass
class Streams:
    """Those of acme's tenant t1, with a clock that stands."""

    logs: Logs
    receiver: Receiver
    now: float
    key: str = ""
    taken: list[str] = field(default_factory=list)

    def ask(self, route: str, body: object = None, key: str | None = None) -> Answer:
        """What the API answers."""
        return self.logs.cell.call(api.handler, route, key or self.key, body=body)

    def create(self, **destination: Any) -> str:
        """A new stream's id: to the receiver, if nothing else is said."""
        answer = self.ask("POST /v1/streams", {"destination": destination or {"kind": "https", "url": URL}})
        assert answer.status == 201, answer.body
        return str(answer.body["id"])

    def get(self, identity: str) -> dict[str, Any]:
        """How a stream is."""
        found: dict[str, Any] = self.ask(f"GET /v1/streams/{identity}").body
        return found

    def row(self, identity: str, tenant: str = "t1") -> rows.Stream:
        """A stream as it is kept."""
        found = rows.found("acme", tenant, identity)
        assert found is not None
        return found

    def log(self, number: int, tenant: str = "t1") -> None:
        """So many new events in a tenant's log."""
        self.logs.tell(self.logs.archive(number, tenant=tenant))

    def turn(self, minutes: float = 1) -> None:
        """What a minute brings: due streams are put into the queue, and worked on."""
        self.now += 60 * minutes
        sender.handler({})
        self.work()

    def work(self) -> None:
        """Have what lies in the queue worked on."""
        url = aws.setting("STREAMS_QUEUE")
        while messages := aws.sqs().receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                aws.sqs().delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                sender.handler({"Records": [{"body": message["Body"]}]}, Context())

    def logged(self, tenant: str = "t1") -> list[str]:
        """The ids of a log's events, in its order."""
        entries = self.logs.entries(self.logs.checkpoint(tenant).size, tenant)
        return [entry.decode().split(" ")[0] for entry in entries]

    def arrived(self) -> list[str]:
        """The ids of the events that came, the tests left out, each at its first coming."""
        ids = [one["eventId"] for got in self.receiver.got for one in json.loads(got.body)]
        return list(dict.fromkeys(one for one in ids if not one.startswith("test-")))

    def told(self) -> list[dict[str, Any]]:
        """What is on its way into the tenant's own log, the oldest first."""
        keys = self.logs.objects("landing", "_waiting/_internal/acme/t1/")
        found = [json.loads(self.logs.content("landing", key)) for key in keys]
        return sorted(found, key=lambda event: str(event["eventTime"]))

    def twice(self) -> set[str]:
        """The ids of the events that came more than once."""
        counts = Counter(one["eventId"] for got in self.receiver.got for one in json.loads(got.body))
        return {one for one, count in counts.items() if count > 1 and not one.startswith("test-")}

    def put(self, identity: str, health: Health) -> None:
        """Have a stream be so."""
        table = boto3.resource("dynamodb").Table("test-streams")
        table.update_item(
            Key=self.row(identity).place,
            UpdateExpression="SET health = :health",
            ExpressionAttributeValues={":health": json.dumps(health.__dict__)},
        )


def create_streams(patch: pytest.MonkeyPatch, account: str) -> None:
    """Make the table, the key and the queue, and say where they are."""
    create_table("test-streams", ["pk", "sk"])
    key = boto3.client("kms").create_key(KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["KeyId"]
    queue = boto3.client("sqs").create_queue(QueueName="test-streams", Attributes={"VisibilityTimeout": "0"})
    for name, value in {
        "STREAMS_TABLE": "test-streams",
        "STREAM_KEY": key,
        "STREAM_ROLE": f"arn:aws:iam::{account}:role/test-streams",
        "STREAMS_QUEUE": queue["QueueUrl"],
    }.items():
        patch.setenv(name, value)
