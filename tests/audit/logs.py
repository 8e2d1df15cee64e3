"""A cell's logs: what its stacks would make for them, and what is read back of one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count
from urllib.parse import quote_plus

import boto3

from audit.handlers.common import aws
from audit.handlers.log import keys, sequencer
from audit.handlers.log.append import CHECKPOINT, unbundled
from audit.handlers.log.store import Store, origin_of
from audit.handlers.log.tree import WIDTH, tile_path
from audit.handlers.log.verifier import Checkpoint, Stored, open_note
from tests.audit.support import REGION, AuditCell, create_table, event

ORIGIN = "eu.audit.example"


@dataclass
class Logs:
    """The logs of a cell."""

    cell: AuditCell

    def archive(self, number: int, *, tenant: str = "t1", object_: str = "") -> str:
        """Put an object of so many new events into the archive; its key."""
        ids = (f"{next(NUMBERS):032x}" for _ in range(number))
        lines = [json.dumps({"eventId": one, **event(tenant)}) for one in ids]
        key = f"acme/{tenant}/2025/03/01/{object_ or next(NUMBERS)}.jsonl"
        self.put(key, "".join(f"{line}\n" for line in lines).encode())
        return key

    def put(self, key: str, body: bytes) -> None:
        """Archive that under that key."""
        aws.s3().put_object(Bucket=self.cell.bucket("archive"), Key=key, Body=body)

    def tell(self, *keys: str) -> list[str]:
        """Have what a message an archive object tells logged; those that must come again. RuntimeError for a fault."""
        again = sequencer.log_told({key: self.message(key) for key in keys})
        if "failed" in again.values():
            raise RuntimeError(f"failed: {again}")
        return sorted(again)

    @staticmethod
    def message(key: str) -> str:
        """What S3 tells of an object."""
        return json.dumps({"Records": [{"s3": {"object": {"key": quote_plus(key, safe="/")}}}]})

    def checkpoint(self, tenant: str = "t1") -> Checkpoint:
        """The signed checkpoint of a log."""
        note = self.store(tenant).read(CHECKPOINT)
        assert note is not None
        return open_note(note.decode(), keys.key_of(origin_of(ORIGIN, "acme", tenant)))

    def store(self, tenant: str = "t1") -> Store:
        """Where a log is kept."""
        return Store.here("acme", tenant)

    def entries(self, size: int, tenant: str = "t1") -> list[bytes]:
        """The entries of a log of that size."""
        store, found = self.store(tenant), list[bytes]()
        for first in range(0, size, WIDTH):
            content = store.read(tile_path("entries", first // WIDTH, min(WIDTH, size - first)))
            assert content is not None
            found += unbundled(content)
        return found

    def events(self, tenant: str = "t1") -> dict[str, Stored]:
        """What is archived of a tenant, with salts."""
        lines = {
            json.loads(line)["eventId"]: line
            for key in self.objects("archive", f"acme/{tenant}/")
            for line in self.content("archive", key).splitlines()
        }
        places = self.store(tenant).places(lines)
        return {one: Stored(line, places[one].salt if one in places else None) for one, line in lines.items()}

    def objects(self, kind: str, prefix: str = "") -> list[str]:
        """The keys of a bucket."""
        found = aws.s3().list_objects_v2(Bucket=self.cell.bucket(kind), Prefix=prefix)
        return [entry["Key"] for entry in found.get("Contents", [])]

    def content(self, kind: str, key: str) -> bytes:
        """What an object holds."""
        return aws.s3().get_object(Bucket=self.cell.bucket(kind), Key=key)["Body"].read()


NUMBERS = count(1)


def create_logs(cell: AuditCell, environment: dict[str, str]) -> None:
    """Make the bucket, the table and the key, and say where they are."""
    aws.s3().create_bucket(
        Bucket=cell.bucket("log"), CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    create_table("test-log", ["pk", "sk"])
    key = boto3.client("kms").create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_EDWARDS25519")
    queue = boto3.client("sqs").create_queue(QueueName="test-log", Attributes={"VisibilityTimeout": "0"})
    environment |= {
        "LOG_QUEUE": queue["QueueUrl"],
        "LOG_BUCKET": cell.bucket("log"),
        "LOG_TABLE": "test-log",
        "LOG_KEY": key["KeyMetadata"]["KeyId"],
        "LOG_ORIGIN": ORIGIN,
    }
