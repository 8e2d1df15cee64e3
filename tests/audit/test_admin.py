"""Keys are made in the control plane's tables, and reach a cell when it is deployed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pulumi
import pytest

from audit import admin
from audit.handlers.common.directory import Directory
from audit.stacks.directory import read_directory
from cellwave.fleet.model import AlarmSignal, Cell, Fleet, Region, Service
from tests.audit.support import AuditCell


def fleet(cell: AuditCell) -> Fleet:
    """A fleet whose control plane is the test's own account."""
    service = Service(name="any", program=".", signals={"alarm": AlarmSignal(name="any")})
    home = Cell(name="one", account="123456789012", aws_region="eu-west-1")
    return Fleet(
        role="arn:aws:iam::{account}:role/cellwave-deploy",
        control=Cell(name="control", account=cell.account, aws_region="eu-west-1"),
        services=(service,),
        regions=(Region(name="eu", endpoint="eu.example", residency="EU", cells=(home,)),),
    )


@pytest.fixture
def tables(cell: AuditCell) -> AuditCell:
    """The control plane's tables, in the account of a cell."""
    for name, keys in (("keys", ["hash"]), ("tenants", ["applicationId", "tenantId"])):
        boto3.client("dynamodb").create_table(
            TableName=f"control-{name}",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[
                {"AttributeName": key, "KeyType": "RANGE" if index else "HASH"}
                for index, key in enumerate(keys)
            ],
        )
    return cell


def make(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, str]:
    """What `key` prints."""
    assert admin.main(["key", *argv]) == 0
    printed: dict[str, str] = json.loads(capsys.readouterr().out)
    return printed


def test_a_key_is_printed_once_and_kept_as_a_hash(
    tables: AuditCell, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tables and the listing hold its SHA-256, kind and owner, and never the key."""
    made = make(capsys, "acme/t1")
    credential = base64.b64decode(made["key"]).decode()
    assert credential.startswith("acme,t1,")
    assert admin.main(["keys"]) == 0
    listed = capsys.readouterr().out
    assert hashlib.sha256(credential.encode()).hexdigest() in listed
    assert made["key"] not in listed
    assert credential.rsplit(",", maxsplit=1)[-1] not in listed


def test_a_cells_directory_knows_every_key(tables: AuditCell, capsys: pytest.CaptureFixture[str]) -> None:
    """Read through the control plane's role; a tenant's key registers the tenant; the text is stable."""
    keys = [
        make(capsys, "acme")["key"],
        make(capsys, "acme/t1")["key"],
    ]
    text = read_directory(fleet(tables))
    assert read_directory(fleet(tables)) == text
    directory = Directory(json.loads(text)["applications"])
    callers = [directory.caller(base64.b64decode(key).decode()) for key in keys]
    assert [(c.application, c.tenant) for c in callers if c] == [("acme", None), ("acme", "t1")]
    assert directory.tenants("acme") == {"t1"}


@pytest.mark.parametrize("argv", [["a,b"], ["a/b/c"], ["a/"], [".."], ["a/.."], []])
def test_an_id_that_could_not_be_told_apart_is_refused(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Commas and slashes separate; exit code 2 says what would be right."""
    with pytest.raises(SystemExit) as left:
        admin.main(["key", *argv])
    assert left.value.code == 2
    assert "expected" in (said := capsys.readouterr().err) or "required" in said


def test_without_a_control_plane_the_way_out_is_named(
    cell: AuditCell, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and what to deploy."""
    assert admin.main(["keys"]) == 1
    assert "control.control" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("AWS_DEFAULT_REGION", "region"),
        ("AWS_ACCESS_KEY_ID", "credentials"),
        ("AWS_PROFILE", "no-such-profile"),
    ],
)
def test_a_shell_that_is_not_set_up_is_told_what_is_missing(missing: str, said: str, tmp_path: Path) -> None:
    """Exit code 1, one line of words, no traceback."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "1",
        "AWS_SECRET_ACCESS_KEY": "2",
    }
    environment.pop(missing, None)
    if missing == "AWS_PROFILE":
        environment["AWS_PROFILE"] = said
    done = run(environment, "keys")
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_nobody_reads_the_keys(tables: AuditCell) -> None:
    """A closed pipe is an error in words: the keys that were not shown are lost."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(dict(os.environ), "key", "acme", "rival", stdout=writer)
    finally:
        os.close(writer)
    assert done.returncode == 1
    assert done.stderr == "error: nobody reads the output; a key that was not shown is of no use\n"


def run(environment: dict[str, str], *argv: str, stdout: int = subprocess.DEVNULL) -> Any:
    """The tool, as it is typed."""
    return subprocess.run(
        [sys.executable, "-m", "audit.admin", *argv],
        env=environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_a_cell_is_not_deployed_without_its_directory(cell: AuditCell) -> None:
    """An empty one would lock every customer out."""
    with pytest.raises(pulumi.RunError, match=r"Deploy control\.control first"):
        read_directory(fleet(cell))
