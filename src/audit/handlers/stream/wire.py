"""What is sent to a destination, in its own words, and what its answer means.

https: Standard Webhooks (standardwebhooks.com). Splunk: HTTP Event Collector, `services/collector/event`. Datadog:
`POST /api/v2/logs`. S3: an object a batch, named by the position of its first entry, so what comes again lies in the
place of what came before.
"""

from __future__ import annotations

import base64
import hmac
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from audit.handlers.common.aws import REGIONAL
from audit.handlers.stream.destinations import Kind
from audit.handlers.stream.guard import Answer, Network, Refused, Unreachable
from audit.handlers.stream.health import Failure

FINAL = (401, 403, 404, 410)
WEBHOOK_PREFIX = "whsec_"
# A destination's own S3 and the STS that leads there: one attempt, since the turn after comes by itself.
PATIENT = Config(connect_timeout=3, read_timeout=12, retries={"mode": "standard", "total_max_attempts": 1})


@dataclass(frozen=True)
class Batch:
    """Lines of the archive, those of the entries from `first` to before `following` of the stream's log; a test's is of
    no entry."""

    stream: str
    first: int
    following: int
    lines: Sequence[bytes]
    test: bool = False


@dataclass(frozen=True)
class To:
    """A destination: what may be shown of it, its secret, and the tenant's external id; `now` as seconds since 1970."""

    told: Mapping[str, str]
    secret: str
    external_id: str
    network: Network
    now: float


def deliver(kind: Kind, to: To, batch: Batch) -> Failure | None:
    """Send a batch; None when the destination has said that it has it."""
    try:
        failure = _DELIVER[kind](to, batch)
    except Refused as error:
        failure = Failure(str(error), final=True)
    except Unreachable as error:
        failure = Failure(str(error))
    if failure and to.secret:
        # Some say in their answer what they were asked with.
        return Failure(
            failure.error.replace(to.secret, "(secret)"), failure.final, failure.wait, failure.too_large
        )
    return failure


def _https(to: To, batch: Batch) -> Failure | None:
    body = b"[" + b",".join(batch.lines) + b"]"
    identity = f"{batch.stream}.{'test' if batch.test else f'{batch.first}-{batch.following}'}"
    headers = {
        "content-type": "application/json",
        "webhook-id": identity,
        "webhook-timestamp": str(int(to.now)),
        "webhook-signature": signature(to.secret, identity, int(to.now), body),
    }
    return _judged(to.network.post(to.told["url"], headers, body), to.now)


def signature(secret: str, identity: str, timestamp: int, body: bytes) -> str:
    """That of Standard Webhooks: HMAC-SHA256 over id, timestamp and body."""
    key = base64.b64decode(secret.removeprefix(WEBHOOK_PREFIX))
    signed = f"{identity}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"


def _splunk(to: To, batch: Batch) -> Failure | None:
    base = to.told["url"].rstrip("/")
    url = base if urlsplit(base).path else f"{base}/services/collector/event"
    headers = {
        "authorization": f"Splunk {to.secret}",
        "content-type": "application/json",
        # Wanted where the token has acknowledgements by the indexer; elsewhere it is looked over.
        "x-splunk-request-channel": str(uuid.uuid5(uuid.NAMESPACE_URL, batch.stream)),
    }
    answer = to.network.post(url, headers, b"\n".join(map(_for_splunk, batch.lines)))
    failure = _judged(answer, to.now)
    if failure is None and _code(answer) != 0:
        return Failure(f"answered {answer.status} without code 0, which says success: {_text(answer)}")
    return failure


def _for_splunk(line: bytes) -> bytes:
    about = {"time": _second(line), "source": "audit", "sourcetype": "cellwave:audit"}
    return json.dumps(about).encode()[:-1] + b', "event": ' + line + b"}"


def _second(line: bytes) -> float:
    """When an event was, in seconds since 1970; a leap second is the one before. OCSF's shape has milliseconds."""
    found = json.loads(line)
    if "eventTime" not in found:
        return float(found["time"] / 1000)
    told = str(found["eventTime"]).upper().replace(":60", ":59")
    return round(datetime.fromisoformat(told).timestamp(), 6)


def _code(answer: Answer) -> Any:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return found.get("code") if isinstance(found, dict) else None


def _datadog(to: To, batch: Batch) -> Failure | None:
    url = f"https://http-intake.logs.{to.told['site']}/api/v2/logs"
    headers = {"dd-api-key": to.secret, "content-type": "application/json"}
    about = {"ddsource": "cellwave-audit", "service": "audit", "ddtags": f"stream:{batch.stream}"}
    entries = [{**about, "message": line.decode()} for line in batch.lines]
    answer = to.network.post(url, headers, json.dumps(entries).encode())
    failure = _judged(answer, to.now)
    if failure is None and answer.status != 202:
        return Failure(f"answered {answer.status}, expected 202: {_text(answer)}")
    return failure


def _s3(to: To, batch: Batch) -> Failure | None:
    """As the tenant's own role, which asks for the tenant's external id."""
    name = f"{batch.stream}/test.jsonl" if batch.test else f"{batch.stream}/{batch.first:015}.jsonl"
    try:
        given = boto3.client("sts", config=PATIENT).assume_role(
            RoleArn=to.told["roleArn"],
            RoleSessionName="audit-stream",
            ExternalId=to.external_id,
            DurationSeconds=900,
        )["Credentials"]
        boto3.client(
            "s3",
            region_name=to.told["region"],
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
            config=PATIENT.merge(REGIONAL),
        ).put_object(
            Bucket=to.told["bucket"],
            Key=to.told["prefix"] + name,
            Body=b"".join(line + b"\n" for line in batch.lines),
            ContentType="application/jsonl",
        )
    except ClientError as error:
        said = error.response["Error"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return Failure(
            f"{error.operation_name}: {said['Code']}: {said.get('Message', '')}",
            final=status in FINAL,
        )
    except BotoCoreError as error:
        return Failure(f"{type(error).__name__}: {error}")
    return None


def _judged(answer: Answer, now: float) -> Failure | None:
    """What an answer of HTTP means; None for one that says yes."""
    if 200 <= answer.status < 300:
        return None
    what = "a redirect, which is not followed" if 300 <= answer.status < 400 else _text(answer)
    return Failure(
        f"answered {answer.status}: {what}".rstrip(": "),
        final=answer.status in FINAL or 300 <= answer.status < 400,
        wait=_wait(answer.headers.get("retry-after", ""), now),
        too_large=answer.status == 413,
    )


def _wait(text: str, now: float) -> float:
    """The seconds of a Retry-After, which is a number or a date; 0 for anything else."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)


def _text(answer: Answer) -> str:
    """A body on one line. What is kept of it is cut when no secret is in it any more, or a part of one would stay."""
    return "".join(c if c.isprintable() else " " for c in answer.body.decode(errors="replace"))


_DELIVER: Mapping[Kind, Callable[[To, Batch], Failure | None]] = {
    "https": _https,
    "splunk": _splunk,
    "datadog": _datadog,
    "s3": _s3,
}
