"""A cell's storage without the engine: the buckets, the table and the directory that the handlers stand on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import boto3
import pytest

from audit.handlers.common import aws, directory
from cellwave.project import Project
from tests.audit.support import REGION, AuditCell, create

ACCOUNTS = itertools.count(310000000000)


@pytest.fixture
def cell(sandbox: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuditCell]:
    """A cell of its own account."""
    made = AuditCell(str(next(ACCOUNTS)))
    for name, value in {
        "AWS_ACCESS_KEY_ID": made.account,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "SERVICE": "test",
        "CONFIG_BUCKET": made.bucket("config"),
        "LANDING_BUCKET": made.bucket("landing"),
        "ARCHIVE_BUCKET": made.bucket("archive"),
        "INDEX_TABLE": "test-index",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("UPLOAD_URL", raising=False)
    # boto3's own session would go on with the credentials of the test before.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    aws.forget()
    directory.forget()
    create(made)
    yield made
    aws.forget()
    directory.forget()
