"""Keys are made and revoked in the control plane's tables, and its cells are told."""

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
import pytest
from botocore.exceptions import ClientError

from audit import admin
from audit.handlers.common.directory import Directory
from audit.publish import KEYS_TABLE, known_in
from tests.audit.support import AuditCell


def make(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, str]:
    """What `key` prints."""
    assert admin.main(["key", *argv]) == 0
    printed: dict[str, str] = json.loads(capsys.readouterr().out)
    return printed


def test_a_key_is_printed_once_and_kept_as_a_hash(
    control: AuditCell, capsys: pytest.CaptureFixture[str]
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


def told(region: str) -> Directory:
    """What the control plane tells the cells of a region."""
    account = boto3.client("sts").get_caller_identity()["Account"]
    answer = boto3.client("s3").get_object(Bucket=f"control-{account}-directory", Key=f"{region}.json")
    return Directory(json.loads(answer["Body"].read())["applications"])


def test_the_cells_are_told_of_every_key(control: AuditCell, capsys: pytest.CaptureFixture[str]) -> None:
    """A tenant's key registers the tenant; what is told is the same text for the same keys."""
    keys = [make(capsys, "acme")["key"], make(capsys, "acme/t1")["key"]]
    assert json.dumps(known_in("eu")) == json.dumps(known_in("eu"))
    callers = [told("eu").caller(base64.b64decode(key).decode()) for key in keys]
    assert [(c.application, c.tenant) for c in callers if c] == [("acme", None), ("acme", "t1")]
    assert told("eu").tenants("acme") == {"t1"}


def test_the_cells_of_a_region_are_told_of_its_own_keys_only(
    control: AuditCell, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that names no region is one of every region."""
    for argv in (["everywhere/t1"], ["here/t1", "--region", "eu"], ["there/t1", "--region", "us"]):
        make(capsys, *argv)
    assert {region: set(told(region).applications) for region in ("eu", "us")} == {
        "eu": {"everywhere", "here"},
        "us": {"everywhere", "there"},
    }


def test_an_unknown_region_is_refused(control: AuditCell, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 names the known ones, and no key is made."""
    assert admin.main(["key", "acme", "--region", "mars"]) == 2
    assert "found 'mars', expected one of us, eu" in capsys.readouterr().err
    assert admin.list_keys() == []


def test_a_revoked_key_is_gone(control: AuditCell, capsys: pytest.CaptureFixture[str]) -> None:
    """And its tenant stays registered, for what was sent."""
    made = [make(capsys, holder)["key"] for holder in ("acme", "acme/t1")]
    hashes = [hashlib.sha256(base64.b64decode(key)).hexdigest() for key in made]
    assert admin.main(["revoke", hashes[1]]) == 0
    assert [told("eu").caller(base64.b64decode(key).decode()) is None for key in made] == [False, True]
    assert told("eu").tenants("acme") == {"t1"}


def test_what_was_revoked_before_something_failed_is_told(
    control: AuditCell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 for the rest; the key that is gone is one that no cell lets in."""
    made = [make(capsys, holder)["key"] for holder in ("acme", "acme/t1")]
    first, second = (hashlib.sha256(base64.b64decode(key)).hexdigest() for key in made)
    table = boto3.resource("dynamodb").Table(KEYS_TABLE)
    refused = ClientError({"Error": {"Code": "ThrottlingException", "Message": "later"}}, "DeleteItem")

    class Failing:
        """The table, until the second key is to be deleted."""

        def delete_item(self, *, Key: dict[str, str]) -> None:
            if Key["hash"] == second:
                raise refused
            table.delete_item(Key=Key)

    monkeypatch.setattr(admin, "_table", lambda name: Failing())
    assert admin.main(["revoke", first, second]) == 1
    assert "later" in capsys.readouterr().err
    assert [told("eu").caller(base64.b64decode(key).decode()) is None for key in made] == [True, False]


def test_what_is_no_key_is_not_revoked(control: AuditCell, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and none of the others is either."""
    key = make(capsys, "acme")["key"]
    there = hashlib.sha256(base64.b64decode(key)).hexdigest()
    assert admin.main(["revoke", there, "nothing"]) == 2
    assert "found 'nothing', expected a hash" in capsys.readouterr().err
    assert [key["hash"] for key in admin.list_keys()] == [there]


def test_a_key_that_no_cell_was_told_of_is_said(
    control: AuditCell, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and the command that tells them; the key was shown, and is told of then."""
    kms, alias = boto3.client("kms"), "alias/control-directory"
    key = kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyId"]
    kms.delete_alias(AliasName=alias)
    assert admin.main(["key", "acme"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["applicationId"] == "acme"
    assert "python -m audit.admin publish" in said.err
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    assert admin.main(["publish"]) == 0
    assert set(told("eu").applications) == {"acme"}


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


def test_nobody_reads_the_keys(control: AuditCell) -> None:
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
