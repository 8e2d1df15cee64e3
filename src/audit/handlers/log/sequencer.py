"""What was archived gets its entry in its tenant's log: called with the archive's notifications."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import unquote_plus

import boto3

from audit.handlers.common.aws import QUICK, s3, setting
from audit.handlers.common.metrics import publish
from audit.handlers.log.append import Line, Sign, append
from audit.handlers.log.store import Store, origin_of
from audit.handlers.log.verifier import ED25519, Checkpoint, Key, signature_line, signed

MAX_LINES = 5000  # in one growth of a log
_PUBLIC_BYTES = 32  # the end of the public key that KMS gives

log = logging.getLogger(__name__)

Place = tuple[str, str]  # application, tenant


def handler(event: Mapping[str, Any], _context: object = None) -> dict[str, object]:
    """Log what a batch of queue messages tells of; answers those that must be delivered again."""
    objects: dict[Place, list[tuple[str, str]]] = defaultdict(list)
    for record in event["Records"]:
        for key in _keys(record["body"]):
            application, tenant, _ = key.split("/", 2)
            objects[application, tenant].append((key, record["messageId"]))
    failed = set[str]()
    for (application, tenant), found in objects.items():
        try:
            store, signer = Store.here(application, tenant), signer_of(application, tenant)
            logged = sum(append(store, lines, signer, _now) for lines in _lines(found))
            publish({"Logged": logged, "LogFailed": 0})
        except Exception:  # one tenant's trouble is none of the others'
            log.exception("the log of %s/%s did not grow", application, tenant)
            publish({"LogFailed": 1})
            failed |= {message for _, message in found}
    if failed and len(failed) == len(event["Records"]):
        # The same redelivery, and the function's Errors metric shows it.
        raise RuntimeError(f"all {len(failed)} messages failed; the log says why")
    return {"batchItemFailures": [{"itemIdentifier": message} for message in sorted(failed)]}


def _keys(body: str) -> Iterator[str]:
    """The archive's objects of events in an S3 notification: those of no tenant are none."""
    for record in json.loads(body).get("Records", ()):
        key = unquote_plus(record["s3"]["object"]["key"])
        if not key.startswith("_"):
            yield key


def _lines(objects: list[tuple[str, str]]) -> Iterator[list[Line]]:
    """The events of these objects, so many at a time."""
    lines: list[Line] = []
    for key, _ in objects:
        content = s3().get_object(Bucket=setting("ARCHIVE_BUCKET"), Key=key)["Body"].read()
        lines += map(Line.of, content.splitlines())
        if len(lines) >= MAX_LINES:
            yield lines
            lines = []
    if lines:
        yield lines


def signer_of(application: str, tenant: str) -> Sign:
    """What signs a log's checkpoints: the cell's key, in the name of that log."""
    origin = origin_of(setting("LOG_ORIGIN"), application, tenant)

    def sign(size: int, root: bytes) -> str:
        text = Checkpoint(origin, size, root).text
        answer = _kms().sign(
            KeyId=setting("LOG_KEY"),
            Message=text.encode(),
            MessageType="RAW",
            SigningAlgorithm="ED25519_SHA_512",
        )
        return signed(text, [signature_line(key_of(origin), answer["Signature"])])

    return sign


def key_of(origin: str) -> Key:
    """The public key of a log."""
    return Key(origin, ED25519, _public(setting("LOG_KEY")))


@cache
def _public(key: str) -> bytes:
    return public_bytes(_kms(), key)


def public_bytes(kms: Any, key: str) -> bytes:
    """The 32 bytes of a public Ed25519 key of KMS's."""
    answer: bytes = kms.get_public_key(KeyId=key)["PublicKey"]
    return answer[-_PUBLIC_BYTES:]


@cache
def _kms() -> Any:
    return boto3.client("kms", config=QUICK)


def _now() -> datetime:
    return datetime.now(UTC)
