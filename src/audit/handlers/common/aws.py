"""The clients and the settings of a running handler, one of each a process."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client

# A handler's own time is short: better to fail soon and be retried than to hang in a socket.
_FAST = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "max_attempts": 3})


def setting(name: str) -> str:
    """An environment variable that the stack gives the function; KeyError when it is not there."""
    return os.environ[name]


@cache
def s3() -> S3Client:
    """Amazon S3 in the function's own region."""
    return boto3.client("s3", config=_FAST.merge(Config(signature_version="s3v4")))


@cache
def table(name: str) -> Table:
    """A DynamoDB table by name."""
    return boto3.resource("dynamodb", config=_FAST).Table(name)


def forget() -> None:
    """Drop the clients, so that the next call makes them for the environment of that moment."""
    s3.cache_clear()
    table.cache_clear()
