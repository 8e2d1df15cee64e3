"""A cell's storage without the engine: the buckets, the table and the directory that the handlers stand on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import boto3
import botocore.session
import pytest
from botocore.loaders import create_loader
from hypothesis import settings

from audit.handlers.common import aws, directory
from cellwave.project import Project
from tests.audit.support import REGION, AuditCell, create

ACCOUNTS = itertools.count(310000000000)
LOADER = create_loader()  # shared, because reading the service models takes longer than a test

# How long an example takes says more about the machine than about the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


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
        "TRIES": "5",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("UPLOAD_URL", raising=False)
    # boto3's own session would go on with the credentials of the test before.
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", boto3.Session(botocore_session=session))
    aws.forget()
    directory.forget()
    create(made)
    yield made
    aws.forget()
    directory.forget()
