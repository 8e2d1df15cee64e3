"""A rehearsal: a customer of our own asks what customers ask, on a stage where nothing is kept.

What real callers are refused says little of a release: they may have no key, or send what is no event. A rehearsal's
requests are right, so each that is refused is the release's own fault. Its counts are what a gate looks at.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from audit.handlers.common import aws, directory
from audit.handlers.common.metrics import publish
from audit.handlers.common.operations import JSON

HEALTH = "/healthz"
EVERY = 2.0  # seconds between the rehearsals of a process that is called
APPLICATION, TENANT = "rehearsal", "tenant"

Handler = Callable[[Mapping[str, Any], Any], dict[str, object]]
Play = Callable[[Handler, "Stage"], None]

log = logging.getLogger(__name__)


class Stage:
    """The little of S3 and DynamoDB that the handlers call, in memory, and the keys of one application and tenant."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], tuple[bytes, dict[str, str]]] = {}
        self.items: list[Any] = []
        self.rows: list[Any] = []
        self.messages: list[str] = []
        self.meta = SimpleNamespace(client=self)
        self.application = f"{APPLICATION},{secrets.token_hex()}"
        self.tenant = f"{APPLICATION},{TENANT},{secrets.token_hex()}"
        keys = [
            {
                "hash": hashlib.sha256(self.application.encode()).hexdigest(),
                "kind": "application",
                "scopes": directory.SCOPES["application"],
            },
            {"hash": hashlib.sha256(self.tenant.encode()).hexdigest(), "kind": "tenant", "tenantId": TENANT},
        ]
        known = {"applications": {APPLICATION: {"tenants": [TENANT], "keys": keys}}}
        place = (aws.setting("CONFIG_BUCKET"), directory.OBJECT)
        self.objects[place] = (json.dumps(known).encode(), {})
        self._sign = aws.s3().generate_presigned_post
        self._link = aws.s3().generate_presigned_url

    def ask(
        self,
        handler: Handler,
        route: str,
        credential: str,
        body: object = None,
        headers: Any = None,
        **query: object,
    ) -> Any:
        """The body of a handler's answer to "<METHOD> <path>", a text if it is no JSON; Refused when it is not 2xx."""
        method, path = route.split(" ")
        key = base64.b64encode(credential.encode()).decode()
        answer = handler(
            {
                "rawPath": path,
                "rawQueryString": urlencode({name.rstrip("_"): value for name, value in query.items()}),
                "headers": {"authorization": f"Bearer {key}", **(headers or {})},
                "requestContext": {"http": {"method": method}},
                "body": json.dumps(body) if body is not None else "",
            },
            None,
        )
        if answer["statusCode"] not in (200, 201, 202):
            raise Refused(f"{route} {query or ''} is answered {answer['statusCode']}: {answer['body']}")
        told: Any = answer["headers"]
        body = str(answer["body"])
        return json.loads(body) if told["content-type"] == JSON else body

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        """As boto3's, of an object that is there."""
        return {"Metadata": self.objects[Bucket, Key][1]}

    def list_objects_v2(
        self, *, Bucket: str, Prefix: str, Delimiter: str = "", StartAfter: str = "", **_: Any
    ) -> dict[str, Any]:
        """As boto3's, all in one answer."""
        keys = sorted(key for name, key in self.objects if name == Bucket and key.startswith(Prefix))
        if not Delimiter:
            found = [
                {"Key": key, "LastModified": datetime.now(UTC), "Size": len(self.objects[Bucket, key][0])}
                for key in keys
                if key > StartAfter
            ]
            return {"Contents": found, "IsTruncated": False}
        below = {Prefix + key.removeprefix(Prefix).partition(Delimiter)[0] + Delimiter for key in keys}
        return {"CommonPrefixes": [{"Prefix": prefix} for prefix in sorted(below)]}

    def get_paginator(self, name: str) -> Any:
        """As boto3's, of one page."""
        return SimpleNamespace(paginate=lambda **asked: [getattr(self, name)(**asked)])

    def delete_object(self, *, Bucket: str, Key: str) -> None:
        """As boto3's."""
        self.objects.pop((Bucket, Key), None)

    def generate_presigned_post(self, **asked: Any) -> Any:
        """As boto3's, which signs and calls nobody."""
        return self._sign(**asked)

    def get_object(self, *, Bucket: str, Key: str, **_: Any) -> dict[str, Any]:
        """As boto3's; every object has one version."""
        if (Bucket, Key) not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": Key}}, "GetObject")
        body, metadata = self.objects[Bucket, Key]
        return {
            "Body": StreamingBody(io.BytesIO(body), len(body)),
            "Metadata": metadata,
            "LastModified": datetime.now(UTC),
            "VersionId": "1",
        }

    def put_object(
        self,
        *,
        Bucket: str,
        Key: str,
        Body: bytes,
        Metadata: dict[str, str] | None = None,
        IfNoneMatch: str = "",
        **_: Any,
    ) -> None:
        """As boto3's."""
        if IfNoneMatch and (Bucket, Key) in self.objects:
            raise ClientError({"Error": {"Code": "PreconditionFailed", "Message": Key}}, "PutObject")
        self.objects[Bucket, Key] = (Body, Metadata or {})

    def batch_execute_statement(self, *, Statements: list[Any]) -> dict[str, Any]:
        """As boto3's, for inserts."""
        self.items += [statement["Parameters"] for statement in Statements]
        return {"Responses": [{} for _ in Statements]}

    def update_item(self, **_: Any) -> dict[str, Any]:
        """As boto3's, of a row that counts: nobody has asked before."""
        return {"Attributes": {"requests": 1}}

    def put_item(self, *, Item: dict[str, Any]) -> None:
        """As boto3's, of a row that is not of the index."""
        self.rows.append(Item)

    def get_item(self, *, Key: dict[str, Any], **_: Any) -> dict[str, Any]:
        """As boto3's, of the rows put."""
        found = [row for row in self.rows if Key.items() <= row.items()]
        return {"Item": found[-1]} if found else {}

    def generate_mac(self, *, Message: bytes, **_: Any) -> dict[str, bytes]:
        """As boto3's, of a key that is no secret."""
        return {"Mac": hashlib.sha256(Message).digest()}

    def verify_mac(self, *, Message: bytes, Mac: bytes, **_: Any) -> None:
        """As boto3's."""
        if hashlib.sha256(Message).digest() != Mac:
            raise ClientError({"Error": {"Code": "KMSInvalidMacException", "Message": ""}}, "VerifyMac")

    def send_message(self, *, MessageBody: str, **_: Any) -> None:
        """As boto3's."""
        self.messages.append(MessageBody)

    def generate_presigned_url(self, *asked: Any, **how: Any) -> str:
        """As boto3's, which signs and calls nobody."""
        return str(self._link(*asked, **how))

    def query(self, *, Limit: int | None = None, ExclusiveStartKey: Any = None, **_: Any) -> dict[str, Any]:
        """As boto3's, of the index in pages, newest first, and of the rows put all at once: what is filtered by is not
        looked at."""
        if Limit is None:
            return {"Items": self.rows}
        rest = sorted(self.items, key=lambda item: str(item["sk"]), reverse=True)
        if ExclusiveStartKey:
            rest = [item for item in rest if item["sk"] < ExclusiveStartKey["sk"]]
        last = {"LastEvaluatedKey": {"sk": rest[Limit - 1]["sk"]}} if len(rest) > Limit else {}
        return {"Items": rest[:Limit], **last}


class Refused(Exception):
    """What a rehearsal was answered where it should not have been."""


def insist(condition: bool, otherwise: str) -> None:
    """Refused with these words unless the condition holds."""
    if not condition:
        raise Refused(otherwise)


def rehearsed(play: Play) -> Callable[[Handler], Handler]:
    """Have a handler's process rehearse: after an answer, at most every EVERY seconds.

    It counts `Rehearsals` and `RehearsalsFailed`, and never fails the answer. Who asks which code runs, which wants
    nothing of AWS, does not wait for it.
    """

    def decorate(handler: Handler) -> Handler:
        due = float("-inf")

        @functools.wraps(handler)
        def answering(event: Mapping[str, Any], context: Any = None) -> dict[str, object]:
            nonlocal due
            try:
                return handler(event, context)
            finally:
                asked = event.get("rawPath") != HEALTH and not aws.staged()
                if asked and time.monotonic() >= due:
                    publish({"Rehearsals": 1, "RehearsalsFailed": int(not _succeeds(play, handler))})
                    due = time.monotonic() + EVERY

        return answering

    return decorate


def _succeeds(play: Play, handler: Handler) -> bool:
    try:
        stage = Stage()
        with aws.on_stage(stage), directory.copied_to(directory.Copy()):
            play(handler, stage)
    except Exception:  # whatever it is: an answer was given already
        log.exception("the rehearsal failed")
        return False
    return True
