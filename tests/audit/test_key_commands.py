"""Keys are made, rotated and revoked in the control plane's tables, and its cells are told."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from audit import keys
from audit.handlers.common.directory import Directory
from audit.publish import KEYS_TABLE, known_in
from cellwave.errors import BadInput
from tests.audit.support import Audit, AuditCell

NOW = 1_800_000_000


def make(audit: Audit, *argv: str) -> dict[str, str]:
    """What `key` prints."""
    code, out, _ = audit("key", *argv)
    assert code == 0
    printed: dict[str, str] = json.loads(out)
    return printed


def hash_of(key: str) -> str:
    """The hash that a key is known by."""
    return hashlib.sha256(base64.b64decode(key)).hexdigest()


@pytest.mark.parametrize("more", [(), ("--json",)], ids=str)
def test_a_key_is_printed_once_and_kept_as_a_hash(
    control: AuditCell, audit: Audit, more: tuple[str, ...]
) -> None:
    """The tables and the listing hold its SHA-256, kind and owner, and never the key."""
    made = make(audit, "acme/t1")
    credential = base64.b64decode(made["key"]).decode()
    assert credential.startswith("acme,t1,")
    code, listed, _ = audit("keys", *more)
    assert code == 0
    assert hash_of(made["key"])[:12] in listed
    assert "t1" in listed
    assert "read" in listed
    assert made["key"] not in listed
    assert credential.rsplit(",", maxsplit=1)[-1] not in listed


def told(region: str) -> Directory:
    """What the control plane tells the cells of a region."""
    account = boto3.client("sts").get_caller_identity()["Account"]
    answer = boto3.client("s3").get_object(Bucket=f"control-{account}-directory", Key=f"{region}.json")
    return Directory(json.loads(answer["Body"].read())["applications"])


def test_the_cells_are_told_of_every_key(control: AuditCell, audit: Audit) -> None:
    """A tenant's key registers the tenant; what is told is the same text for the same keys."""
    keys = [make(audit, "acme")["key"], make(audit, "acme/t1")["key"]]
    assert json.dumps(known_in("eu")) == json.dumps(known_in("eu"))
    callers = [told("eu").caller(base64.b64decode(key).decode()) for key in keys]
    assert [(c.application, c.tenant) for c in callers if c] == [("acme", None), ("acme", "t1")]
    assert told("eu").tenants("acme") == {"t1"}


def test_the_cells_of_a_region_are_told_of_its_own_keys_only(control: AuditCell, audit: Audit) -> None:
    """A key that names no region is one of every region."""
    for argv in (["everywhere/t1"], ["here/t1", "--region", "eu"], ["there/t1", "--region", "us"]):
        make(audit, *argv)
    assert {region: set(told(region).applications) for region in ("eu", "us")} == {
        "eu": {"everywhere", "here"},
        "us": {"everywhere", "there"},
    }


@pytest.mark.parametrize(
    ("option", "right"),
    [("--region", "one of us, eu"), ("--scope", "of an application's key one of write, read, view")],
)
def test_an_unknown_region_or_scope_is_refused(
    control: AuditCell, audit: Audit, option: str, right: str
) -> None:
    """Exit code 2 names the known ones, and no key is made."""
    code, _, said = audit("key", "acme", option, "mars")
    assert code == 2
    assert f"{option}: found 'mars'" in said
    assert right in said
    assert keys.list_keys() == []


@pytest.mark.parametrize(
    ("holder", "scope", "right"),
    [
        ("acme", "export", "of an application's key one of write, read, view"),
        ("acme/t1", "write", "of a tenant's key one of read, export, stream"),
        ("acme/t1", "admin", "of a tenant's key one of read, export, stream"),
    ],
)
def test_a_scope_that_opens_nothing_to_a_key_is_refused(
    control: AuditCell, audit: Audit, holder: str, scope: str, right: str
) -> None:
    """Exit code 2 names those of its kind, and no key is made."""
    code, _, said = audit("key", holder, "--scope", "read", "--scope", scope)
    assert code == 2
    assert f"--scope: found '{scope}'" in said
    assert right in said
    assert keys.list_keys() == []


def test_scopes_and_an_end_are_told_to_the_cells(
    control: AuditCell, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that names none has those of its kind, and no end."""
    monkeypatch.setattr(f"{keys.__name__}.time.time", lambda: float(NOW))
    bounded = make(audit, "acme/t1", "--scope", "export", "--days", "2")["key"]
    plain = make(audit, "acme")["key"]
    callers = [told("eu").caller(base64.b64decode(key).decode()) for key in (bounded, plain)]
    assert [(set(c.scopes), c.expires) for c in callers if c] == [
        ({"export"}, NOW + 2 * 86400),
        ({"write", "read"}, None),
    ]


def test_a_rotated_key_has_a_successor_and_ends_later(
    control: AuditCell, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one does what the old one did, for as long from now on; both work until the old one ends."""
    monkeypatch.setattr(f"{keys.__name__}.time.time", lambda: float(NOW))
    old = make(audit, "acme/t1", "--scope", "export", "--days", "30", "--region", "eu")["key"]
    later = NOW + 20 * 86400
    monkeypatch.setattr(f"{keys.__name__}.time.time", lambda: float(later))
    code, out, _ = audit("rotate", hash_of(old)[:12], "--hours", "48")
    assert code == 0
    new = json.loads(out)
    assert (new["applicationId"], new["tenantId"]) == ("acme", "t1")
    callers = [told("eu").caller(base64.b64decode(key).decode()) for key in (old, new["key"])]
    assert [(set(c.scopes), c.expires) for c in callers if c] == [
        ({"export"}, later + 2 * 86400),
        ({"export"}, later + 30 * 86400),
    ]
    assert told("us").applications == {}


def test_a_rotation_is_of_what_a_key_was_given_for_however_often(
    control: AuditCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of the end that a rotation put; a key of before, whose item does not say it, is told by its own end."""
    monkeypatch.setattr(f"{keys.__name__}.time.time", lambda: float(NOW))
    table = boto3.resource("dynamodb").Table(KEYS_TABLE)
    for lasts in (None, 30 * 86400):
        for of_before in (False, True):
            keys.make_key("acme", lasts=lasts)
            (old,) = keys.list_keys()
            if of_before:
                table.update_item(Key={"hash": old.hash}, UpdateExpression="REMOVE lasts")
            for _ in range(2):
                (old,) = (key for key in keys.list_keys() if key.hash == old.hash)
                keys.successor(old)
                keys.end(old, NOW + 3600)
            found = keys.list_keys()
            ends = [None if lasts is None else NOW + lasts] * 2
            assert [key.expires for key in found if key.hash != old.hash] == ends
            assert [key.expires for key in found if key.hash == old.hash] == [NOW + 3600]
            for key in found:
                keys.revoke(key)


def test_a_key_that_is_named_twice_has_one_successor(control: AuditCell, audit: Audit) -> None:
    """By two beginnings of its hash, or by the same."""
    named = hash_of(make(audit, "acme")["key"])
    code, out, _ = audit("rotate", named, named[:12], named[:12])
    assert code == 0
    assert len(out.splitlines()) == 1
    assert len(keys.list_keys()) == 2


@pytest.mark.parametrize(
    ("given_end", "ends"), [(None, NOW + 60), (NOW + 30, NOW + 30), (NOW + 90, NOW + 60)]
)
def test_a_key_is_never_made_to_last_longer(control: AuditCell, given_end: int | None, ends: int) -> None:
    """By a rotation it ends earlier than it would, or as it would."""
    keys.make_key("acme", lasts=None if given_end is None else given_end - int(time.time()))
    (key,) = keys.list_keys()
    keys.end(key, NOW + 60)
    (key,) = keys.list_keys()
    assert key.expires is not None
    assert abs(key.expires - ends) <= 1


def test_a_revoked_key_is_not_brought_back_by_an_end(control: AuditCell) -> None:
    """Somebody may take it away while it is rotated."""
    keys.make_key("acme")
    (key,) = keys.list_keys()
    keys.revoke(key)
    keys.end(key, NOW)
    assert keys.list_keys() == []


HASHES = st.lists(st.text("ab", min_size=12, max_size=12), min_size=1, max_size=8, unique=True)


@given(HASHES, st.integers(keys.SHORTEST_HASH, 12))
def test_a_key_is_named_by_what_no_other_begins_with(hashes: list[str], length: int) -> None:
    """Else the answer is how many there are."""
    there = [keys.Key(one, "acme", None, (), NOW) for one in hashes]
    begun = hashes[0][:length]
    if sum(one.startswith(begun) for one in hashes) == 1:
        assert [key.hash for key in keys.find([begun], there)] == [hashes[0]]
    else:
        with pytest.raises(BadInput, match="keys begin with"):
            keys.find([begun], there)


def test_a_revoked_key_is_gone(control: AuditCell, audit: Audit) -> None:
    """And its tenant stays registered, for what was sent."""
    made = [make(audit, holder)["key"] for holder in ("acme", "acme/t1")]
    assert audit("revoke", hash_of(made[1]))[0] == 0
    assert [told("eu").caller(base64.b64decode(key).decode()) is None for key in made] == [False, True]
    assert told("eu").tenants("acme") == {"t1"}


def test_what_was_revoked_before_something_failed_is_told(
    control: AuditCell, monkeypatch: pytest.MonkeyPatch, audit: Audit
) -> None:
    """Exit code 1 for the rest; the key that is gone is one that no cell lets in."""
    made = [make(audit, holder)["key"] for holder in ("acme", "acme/t1")]
    first, second = map(hash_of, made)
    table = boto3.resource("dynamodb").Table(KEYS_TABLE)
    refused = ClientError({"Error": {"Code": "ThrottlingException", "Message": "later"}}, "DeleteItem")

    class Failing:
        """The table, until the second key is to be deleted."""

        def delete_item(self, *, Key: dict[str, str]) -> None:
            if Key["hash"] == second:
                raise refused
            table.delete_item(Key=Key)

    monkeypatch.setattr(keys, "_table", lambda name: Failing())
    code, _, said = audit("revoke", first, second)
    assert code == 1
    assert "later" in said
    assert [told("eu").caller(base64.b64decode(key).decode()) is None for key in made] == [True, False]


def test_what_is_no_key_is_not_revoked(control: AuditCell, audit: Audit) -> None:
    """Exit code 2, and none of the others is either."""
    key = make(audit, "acme")["key"]
    code, _, said = audit("revoke", hash_of(key), "nothing-of-that-name")
    assert code == 2
    assert "found 'nothing-of-that-name'" in said
    assert "`cellwave audit keys`" in said
    assert [key.hash for key in keys.list_keys()] == [hash_of(key)]


def test_a_key_that_no_cell_was_told_of_is_said(control: AuditCell, audit: Audit) -> None:
    """Exit code 1 and the command that tells them; the key was shown, and is told of then."""
    kms, alias = boto3.client("kms"), "alias/control-directory"
    key = kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyId"]
    kms.delete_alias(AliasName=alias)
    code, out, said = audit("key", "acme")
    assert code == 1
    assert json.loads(out)["applicationId"] == "acme"
    assert "`cellwave audit publish`" in said
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    assert audit("publish")[0] == 0
    assert set(told("eu").applications) == {"acme"}


@pytest.mark.parametrize("holder", ["a,b", "a/b/c", "a/", "..", "a/.."])
def test_an_id_that_could_not_be_told_apart_is_refused(audit: Audit, holder: str) -> None:
    """Commas and slashes separate; exit code 2 says what would be right."""
    code, _, said = audit("key", holder)
    assert code == 2
    assert "right would be: 1 to " in said


def test_without_a_control_plane_the_way_out_is_named(cell: AuditCell, audit: Audit) -> None:
    """Exit code 1 and what to deploy."""
    code, _, said = audit("keys")
    assert code == 1
    assert "control.control" in said


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
        [sys.executable, "-m", "cellwave.cli.main", "audit", *argv],
        env=environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
