"""The clients and the settings of a running handler, one of each a process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

# A handler's own time is short: better to fail soon and be retried than to hang in a socket.
QUICK = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "max_attempts": 3})
# Without these two, boto3 writes the global host into what it signs for others, and no event may leave its region.
REGIONAL = Config(
    signature_version="s3v4",
    s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"},
)
_stage: ContextVar[Any] = ContextVar("stage", default=None)


def setting(name: str) -> str:
    """An environment variable that the stack gives the function; KeyError when it is not there."""
    return os.environ[name]


def s3() -> S3Client:
    """Amazon S3 in the function's own region."""
    stage: S3Client | None = _stage.get()
    return stage or _s3()


def sqs() -> SQSClient:
    """Amazon SQS in the function's own region."""
    stage: SQSClient | None = _stage.get()
    return stage or _sqs()


def kms() -> KMSClient:
    """AWS KMS in the function's own region."""
    stage: KMSClient | None = _stage.get()
    return stage or _kms()


def table(name: str, config: Config = QUICK) -> Table:
    """A DynamoDB table by name, asked as patiently as `config` says."""
    stage: Table | None = _stage.get()
    return stage or _table(name, config)


def staged() -> bool:
    """Whether a rehearsal is under way."""
    return _stage.get() is not None


@contextmanager
def on_stage(stage: object) -> Iterator[None]:
    """Have `stage` stand for S3, SQS, KMS and every table."""
    token = _stage.set(stage)
    try:
        yield
    finally:
        _stage.reset(token)


def forget() -> None:
    """Drop the clients, so that the next call makes them for the environment of that moment."""
    _s3.cache_clear()
    _sqs.cache_clear()
    _kms.cache_clear()
    _table.cache_clear()


@cache
def _s3() -> S3Client:
    return boto3.client("s3", config=QUICK.merge(REGIONAL))


@cache
def _sqs() -> SQSClient:
    return boto3.client("sqs", config=QUICK)


@cache
def _kms() -> KMSClient:
    return boto3.client("kms", config=QUICK)


@cache
def _table(name: str, config: Config) -> Table:
    return boto3.resource("dynamodb", config=config).Table(name)
