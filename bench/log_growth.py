"""How fast a tenant's log grows: archived objects of a thousand events each, told of one message at a time.

`python -m bench.log_growth [OBJECTS]` calls the sequencer's own code in this process, on the sandbox's S3, DynamoDB
and KMS. Reported are entries a second, the share of them that the emulator's calls took, and those of the log's own
work alone (hashes, salts, tiles; nothing kept).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3

from audit.handlers.log.append import Line
from audit.handlers.log.tree import Edge
from audit.handlers.log.verifier import Entry, leaf_hash
from cellwave.project import Project, find_project
from cellwave.sandbox import server

LINES = 1000  # an object
ACCOUNT, REGION = "390000000000", "eu-west-1"


def main(objects: int) -> None:
    """Measure in a sandbox of its own."""
    with tempfile.TemporaryDirectory(prefix="cellwave-bench-") as folder:
        project, own = Project(Path(folder)), find_project()
        (project.root / "cells").symlink_to(own.root / "cells")
        (project.root / "waves.yaml").symlink_to(own.root / "waves.yaml")
        (project.root / ".cellwave").mkdir()
        (project.root / ".cellwave/bin").symlink_to(own.bin)
        server.up(project, lambda _line: None)
        try:
            os.environ |= server.environment(project)
            os.environ |= {"AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION}
            print(json.dumps(measured(objects)))
        finally:
            server.down(project)


def measured(objects: int) -> dict[str, float]:
    """The figures."""
    from audit.handlers.log import sequencer

    _made()
    keys = [_archived(number) for number in range(objects)]
    waited = _counting_calls()
    begun = time.monotonic()
    for key in keys:
        again = sequencer.log_told({key: json.dumps({"Records": [{"s3": {"object": {"key": key}}}]})})
        assert not again
    took = time.monotonic() - begun
    return {
        "entries_a_second": round(objects * LINES / took),
        "share_of_calls": round(sum(waited) / took, 2),
        "own_work_entries_a_second": round(_own_work(objects)),
    }


def _own_work(objects: int) -> float:
    lines = [[Line.of(_line(number, at)) for at in range(LINES)] for number in range(objects)]
    edge, begun = Edge(), time.monotonic()
    for some in lines:
        entries = [
            Entry.of(line.event, "2027-01-01T00:00:00.000Z", os.urandom(16), line.content) for line in some
        ]
        edge, _ = edge.append([leaf_hash(entry.data) for entry in entries])
        edge.root()
    return objects * LINES / (time.monotonic() - begun)


def _counting_calls() -> list[float]:
    """The seconds that each call of AWS takes from now on."""
    from audit.handlers.common import aws
    from audit.handlers.log import keys

    waited: list[float] = []
    for client in (aws.s3(), aws.table("bench-log").meta.client, keys._kms()):
        real = client._make_api_call  # type: ignore[union-attr]

        def call(operation: str, asked: Any, real: Any = real) -> Any:
            begun = time.monotonic()
            try:
                return real(operation, asked)
            finally:
                waited.append(time.monotonic() - begun)

        client._make_api_call = call  # type: ignore[union-attr]
    return waited


def _made() -> None:
    s3: Any = boto3.client("s3")
    for name in ("bench-archive", "bench-log"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    table: Any = boto3.client("dynamodb")
    table.create_table(
        TableName="bench-log",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
    key = boto3.client("kms").create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_EDWARDS25519")
    os.environ |= {
        "SERVICE": "bench",
        "ARCHIVE_BUCKET": "bench-archive",
        "LOG_BUCKET": "bench-log",
        "LOG_TABLE": "bench-log",
        "LOG_KEY": key["KeyMetadata"]["KeyId"],
        "LOG_ORIGIN": "bench.audit.example",
    }


def _line(number: int, at: int) -> bytes:
    event = {"tenantId": "t1", "eventTime": "2027-01-01T00:00:00Z", "eventName": "document.read"}
    more = {
        "actor": {"id": f"user-{at % 97}"},
        "resources": [{"id": f"document-{at}"}],
        "eventDetails": {"n": at},
    }
    return json.dumps({"eventId": f"{number:016x}{at:016x}", **event, **more}).encode()


def _archived(number: int) -> str:
    key = f"acme/t1/2027/01/01/{number}.jsonl"
    body = b"".join(_line(number, at) + b"\n" for at in range(LINES))
    boto3.client("s3").put_object(Bucket="bench-archive", Key=key, Body=body)
    return key


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
