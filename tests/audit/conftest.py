"""A cell's storage without the engine: the buckets, the table and the directory that the handlers stand on."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator

import boto3
import botocore.session
import pytest
from botocore.loaders import create_loader

from audit.handlers.common import aws, directory
from audit.handlers.log import keys as log_keys
from audit.handlers.query import limits
from audit.handlers.query.viewer import links
from audit.handlers.router import calls
from cellwave.cli.main import main
from cellwave.fleet.parse import parse_fleet
from cellwave.project import Project
from tests.audit.deployment import CELL, SERVICES, Deployment, release_folder
from tests.audit.logs import Logs, create_logs
from tests.audit.routing import ProductRegion, make_region
from tests.audit.support import REGION, Audit, AuditCell, create, create_control

ACCOUNTS = itertools.count(310000000000)
LOADER = create_loader()  # shared, because reading the service models takes longer than a test


@pytest.fixture
def cell(sandbox: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuditCell]:
    """A cell of its own account."""
    made = AuditCell(str(next(ACCOUNTS)))
    for name, value in {
        "AWS_ACCESS_KEY_ID": made.account,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "SERVICE": "test",
        "CELL": "eu-1",
        "CONFIG_BUCKET": made.bucket("config"),
        "LANDING_BUCKET": made.bucket("landing"),
        "ARCHIVE_BUCKET": made.bucket("archive"),
        "INDEX_TABLE": "test-index",
        "LIMITS_TABLE": "test-limits",
        "EXPORTS_TABLE": "test-exports",
        "EXPORTS_BUCKET": made.bucket("exports"),
        "LIMIT_REQUESTS": "1000",
        "RETENTION": "COMPLIANCE 365",
        "VIEWER_KEY": "alias/test-viewer",
        "LOG_BUCKET": made.bucket("log"),
        "LOG_TABLE": "test-log",
        "TRIES": "5",
        "WAITING_DAYS": "14",
        "ARCHIVE_LOCK": "COMPLIANCE",
        "PRODUCT_REGION": "eu",
        "CONTROL_REGION": REGION,
        "CONTROL_BUCKET": f"control-{made.account}-directory",
        "CONTROL_OBJECT": "eu.json",
        "CONTROL_KEY": "alias/control-directory",
        "CONTROL_ROLE": f"arn:aws:iam::{made.account}:role/control-directory-eu",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("UPLOAD_URL", raising=False)
    # boto3's own session would go on with the credentials of the test before.
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", boto3.Session(botocore_session=session))
    aws.forget()
    directory.forget()
    limits.forget()
    links.forget()
    create(made)
    monkeypatch.setenv(
        "EXPORTS_QUEUE", boto3.client("sqs").get_queue_url(QueueName="test-exports")["QueueUrl"]
    )
    yield made
    aws.forget()
    directory.forget()


@pytest.fixture
def region(cell: AuditCell, monkeypatch: pytest.MonkeyPatch) -> ProductRegion:
    """A product region of three cells, behind a router."""
    names = ("CONFIG_BUCKET", "LANDING_BUCKET", "ARCHIVE_BUCKET", "INDEX_TABLE", "LIMITS_TABLE")
    made = make_region(cell, {name: os.environ[name] for name in names})
    monkeypatch.setattr(calls, "sender", made.send)
    # The router's own cell; it keeps nothing there, and reads the directory alone.
    monkeypatch.setenv("CELL", "us-2")
    return made


@pytest.fixture
def control(cell: AuditCell) -> AuditCell:
    """A cell with a control plane in its own account."""
    create_control(cell.account)
    return cell


@pytest.fixture
def logs(cell: AuditCell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Logs]:
    """The logs of a cell."""
    made: dict[str, str] = {}
    create_logs(cell, made)
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    log_keys.forget()
    yield Logs(cell)
    log_keys.forget()


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Audit:
    """Runs `cellwave audit` with arguments: exit code, output, errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cellwave", "audit", *arguments])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return int(str(end.value.code or 0)), said.out, said.err

    return call


@pytest.fixture(scope="session")
def deployed(sandbox: Project, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The control plane and one whole cell, up."""
    folder = tmp_path_factory.mktemp("release")
    release_folder(folder)
    state = tmp_path_factory.mktemp("state")
    account = parse_fleet(Project(folder).config_files()).cell("control").account
    made = Deployment(
        folder,
        {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{state}",
            "AWS_ACCESS_KEY_ID": account,
        },
    )
    made.up("control.control")
    made.keys = {holder: made.key(holder) for holder in ("acme", "acme/t1")}
    for service in SERVICES:
        made.up(f"{CELL}.{service}")
    return made
