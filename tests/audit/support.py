"""The handlers of a cell on storage made without the engine, called as Lambda calls them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote_plus, urlencode

import boto3
from botocore.exceptions import ClientError

from audit.handlers.common import aws, directory
from audit.handlers.common.operations import JSON
from audit.handlers.ingest import processor, session
from audit.handlers.query import api
from tests.audit.documents import conforms

REGION: Literal["eu-west-1"] = "eu-west-1"
Audit = Callable[..., tuple[int, str, str]]  # a command's arguments -> exit code, output, errors
Handler = Callable[[Mapping[str, Any], Any], dict[str, object]]


def event(tenant: str = "t1", second: int = 0, **more: object) -> dict[str, Any]:
    """A valid event of a tenant, at a second of a minute."""
    return {"tenantId": tenant, "eventTime": f"2025-03-01T10:00:{second:02}Z", "eventName": "login", **more}


@dataclass
class Answer:
    """What a handler answered."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.body["error"]["code"])

    @property
    def message(self) -> str:
        """The error's message."""
        return str(self.body["error"]["message"])


@dataclass
class AuditCell:
    """The handlers of one cell, called as Lambda calls them."""

    account: str
    applications: dict[str, Any] = field(default_factory=dict)

    def bucket(self, kind: str) -> str:
        """A bucket's name."""
        return f"test-{self.account}-{kind}"

    def key(self, *identity: str, **bounds: object) -> str:
        """A new key of an application, or of an application's tenant; the tenant becomes registered.

        `bounds` are its scopes and its end, as a directory has them.
        """
        made = sum(len(application["keys"]) for application in self.applications.values())
        credential = ",".join((*identity, f"secret-{made}"))
        application = self.applications.setdefault(identity[0], {"tenants": [], "keys": []})
        entry: dict[str, object] = {
            "hash": hashlib.sha256(credential.encode()).hexdigest(),
            "kind": "application",
            **bounds,
        }
        if len(identity) == 2:
            entry |= {"kind": "tenant", "tenantId": identity[1]}
            application["tenants"] = sorted({*application["tenants"], identity[1]})
        application["keys"].append(entry)
        content = json.dumps({"applications": self.applications})
        aws.s3().put_object(Bucket=self.bucket("config"), Key="directory.json", Body=content.encode())
        directory.forget()
        return base64.b64encode(credential.encode()).decode()

    def call(
        self,
        handler: Handler,
        route: str,
        key: str | None = None,
        *,
        body: object = None,
        headers: Any = None,
        **query: object,
    ) -> Answer:
        """Answer of a handler to "<METHOD> <path>", which conforms to its document; as `call_only`."""
        found = self.call_only(handler, route, key, body=body, headers=headers, **query)
        conforms(handler, route, found.status, found.body)
        return found

    def call_only(
        self,
        handler: Handler,
        route: str,
        key: str | None = None,
        *,
        body: object = None,
        headers: Any = None,
        **query: object,
    ) -> Answer:
        """Answer of a handler to "<METHOD> <path>"; parameters that are Python words end with an underscore."""
        method, path = route.split(" ")
        asked = {name.rstrip("_"): value for name, value in query.items()}
        answer = handler(
            {
                "rawPath": path,
                "rawQueryString": urlencode(asked, doseq=True),
                "headers": {
                    **({"Authorization": f"Bearer {key}"} if key is not None else {}),
                    **(headers or {}),
                },
                "requestContext": {"http": {"method": method}},
                "body": body if isinstance(body, str) else json.dumps(body),
            },
            None,
        )
        told: Any = answer["headers"]
        said = str(answer["body"])
        read: Any = json.loads(said) if told["content-type"] == JSON else said
        return Answer(int(str(answer["statusCode"])), read, told)

    def ingest(
        self,
        route: str,
        key: str | None = None,
        *,
        body: object = None,
        headers: Any = None,
        **query: object,
    ) -> Answer:
        """Answer of the ingest API."""
        return self.call(session.handler, route, key, body=body, headers=headers, **query)

    def search(self, key: str | None, **query: object) -> Answer:
        """Answer of GET /v1/events."""
        return self.call(api.handler, "GET /v1/events", key, **query)

    def land(self, name: str, *lines: object) -> None:
        """Put a landing object of these lines (bytes as they are, anything else as JSON)."""
        content = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
        aws.s3().put_object(Bucket=self.bucket("landing"), Key=name, Body=content)

    def landed(self) -> list[str]:
        """The keys of the landing bucket."""
        found = aws.s3().list_objects_v2(Bucket=self.bucket("landing"))
        return [entry["Key"] for entry in found.get("Contents", [])]

    def process(self, *names: str) -> dict[str, object]:
        """Run the processor over a message a landing object (default: over all that landed)."""
        return self.deliver(*(self.notification(name) for name in names or self.landed()))

    def notification(self, name: str, key: str | None = None, version: str | None = None) -> object:
        """What S3 says of a landing object: of its newest version when none is given."""
        bucket = self.bucket("landing")
        with suppress(ClientError):  # a name that is not there
            version = version or aws.s3().head_object(Bucket=bucket, Key=name)["VersionId"]
        about = {"key": key or quote_plus(name, safe="/"), "versionId": version or "none"}
        return {"Records": [{"s3": {"bucket": {"name": bucket}, "object": about}}]}

    def deliver(self, *bodies: object, received: int = 1, context: object = None) -> dict[str, object]:
        """Run the processor over queue messages of these bodies, each received so often."""
        attributes = {"ApproximateReceiveCount": str(received)}
        records = [
            {"messageId": f"m{index}", "body": json.dumps(body), "attributes": attributes}
            for index, body in enumerate(bodies)
        ]
        return processor.handler({"Records": records}, context)

    def archived(self) -> dict[str, list[Any]]:
        """The lines of every archive object, by key."""
        bucket = self.bucket("archive")
        found = aws.s3().list_objects_v2(Bucket=bucket)
        keys = [entry["Key"] for entry in found.get("Contents", [])]
        contents = {key: aws.s3().get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
        return {key: [json.loads(line) for line in text.splitlines()] for key, text in contents.items()}


def create_control(account: str) -> None:
    """Make what the control plane's stack would make, for the regions us and eu."""
    for name, keys in (
        ("keys", ["hash"]),
        ("tenants", ["applicationId", "tenantId"]),
        ("schemas", ["applicationId", "name"]),
        ("events", ["applicationId", "id"]),
        ("homes", ["region", "holder"]),
        ("applications", ["applicationId"]),
    ):
        create_table(f"control-{name}", keys)
    aws.s3().create_bucket(
        Bucket=f"control-{account}-directory", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    tell_cells(account)
    create_mac_key("control-directory")
    boto3.client("ssm").put_parameter(Name="/audit/regions", Value="us,eu", Type="StringList")


def create_mac_key(name: str) -> None:
    """Make a KMS key for MACs of that alias."""
    kms = boto3.client("kms")
    key = kms.create_key(KeyUsage="GENERATE_VERIFY_MAC", KeySpec="HMAC_256")["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=f"alias/{name}", TargetKeyId=key)


REGIONS = {"us": ("us-1", "us-2"), "eu": ("eu-1",)}


def tell_cells(
    account: str, sizes: Mapping[str, int] | None = None, nested: Mapping[str, str] | None = None
) -> None:
    """Say of the cells of us and eu what the control plane's stack would. The two of us are a failover pair."""
    parents = nested or {}
    told = {
        region: {
            "endpoint": f"{region}.audit.example",
            "residency": region,
            "cells": [
                {
                    "name": name,
                    "weight": 1.0,
                    "tenants": (sizes or {}).get(name, 1000),
                    "failover": {"us-1": "us-2", "us-2": "us-1"}.get(name),
                    "parent": parents.get(name),
                }
                for name in (*cells, *(child for child, parent in parents.items() if parent in cells))
            ],
        }
        for region, cells in REGIONS.items()
    }
    aws.s3().put_object(
        Bucket=f"control-{account}-directory", Key="cells.json", Body=json.dumps(told).encode()
    )


def create_storage(
    cell: AuditCell, prefix: str, buckets: Sequence[str], tables: Mapping[str, Sequence[str]]
) -> None:
    """Make a cell's buckets, and tables of such names and keys."""
    for kind in buckets:
        aws.s3().create_bucket(
            Bucket=cell.bucket(kind),
            CreateBucketConfiguration={"LocationConstraint": REGION},
            ObjectLockEnabledForBucket=kind == "archive",
        )
        aws.s3().put_bucket_versioning(
            Bucket=cell.bucket(kind), VersioningConfiguration={"Status": "Enabled"}
        )
    for name, keys in tables.items():
        create_table(f"{prefix}-{name}", keys)


def create_table(name: str, keys: Sequence[str]) -> None:
    """Make a table of such keys, which are texts."""
    boto3.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[
            {"AttributeName": key, "KeyType": "RANGE" if index else "HASH"} for index, key in enumerate(keys)
        ],
    )


def create(cell: AuditCell) -> None:
    """Make what a cell's storage stack would make."""
    tables = {"index": ["pk", "sk"], "limits": ["pk"], "exports": ["pk", "sk"]}
    create_storage(cell, "test", ("config", "landing", "archive", "exports"), tables)
    boto3.client("sqs").create_queue(QueueName="test-exports")
    create_mac_key("test-viewer")
