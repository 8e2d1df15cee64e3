"""What the control plane publishes reaches a cell by itself; what is no good changes nothing there."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from audit import keys as known
from audit import publish
from audit.handlers.common import directory
from audit.handlers.common.aws import s3
from audit.handlers.directory import pull
from tests.audit.support import AuditCell


def give(application: str, tenant: str | None = None) -> str:
    """A new key that the cells are told of."""
    key = known.make_key(application, tenant)
    publish.publish()
    return key


def pulled(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, object], int]:
    """What a pull answers, and what it counts as stale."""
    directory.forget()
    capsys.readouterr()
    answer = pull.handler()
    counts = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"_aws"' in line]
    return answer, sum(count["Stale"] for count in counts)


def offered(cell: AuditCell) -> Any:
    """The control plane's object."""
    return s3().get_object(Bucket=f"control-{cell.account}-directory", Key="eu.json")


def offer(cell: AuditCell, body: bytes, metadata: dict[str, str]) -> None:
    """Put another in its place."""
    bucket = f"control-{cell.account}-directory"
    s3().put_object(Bucket=bucket, Key="eu.json", Body=body, Metadata=metadata)


@pytest.fixture
def ready(control: AuditCell) -> AuditCell:
    """A cell that nobody was ever told to."""
    nobody = b'{"applications": {}}'
    s3().put_object(Bucket=control.bucket("config"), Key="directory.json", Body=nobody)
    return control


def test_a_new_key_works_and_a_revoked_one_does_not(
    ready: AuditCell, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once a pull has brought the news; nothing is deployed."""
    key = give("acme", "t1")
    assert ready.search(key).status == 401
    answer, stale = pulled(capsys)
    assert (ready.search(key).status, list(answer), stale) == (200, ["version"], 0)

    known.revoke(*known.find([hashlib.sha256(base64.b64decode(key)).hexdigest()], known.list_keys()))
    publish.publish()
    assert pulled(capsys)[0] != answer
    assert ready.search(key).status == 401


def test_the_cell_is_written_to_only_when_there_is_news(
    ready: AuditCell, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was accepted names the directory's version in the cell."""
    give("acme")
    first = pulled(capsys)
    version = directory.directory().version
    assert pulled(capsys) == first
    assert directory.directory().version == version


def test_what_the_stack_made_of_the_object_stays(
    ready: AuditCell, capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine that looks at it finds its tags and nothing to change: it would put the content of its own there."""
    place: Any = {"Bucket": ready.bucket("config"), "Key": "directory.json"}
    s3().put_object_tagging(**place, Tagging={"TagSet": [{"Key": "cellwave:cell", "Value": "one"}]})
    give("acme")
    pulled(capsys)
    assert s3().get_object_tagging(**place)["TagSet"] == [{"Key": "cellwave:cell", "Value": "one"}]
    assert s3().head_object(**place)["Metadata"] == {}


def test_before_anybody_was_told_anything_nothing_is_wrong(
    ready: AuditCell, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cell may be deployed before there is a key."""
    assert pulled(capsys) == ({"version": 0}, 0)


def test_what_a_deployment_once_brought_serves_until_there_is_news(
    ready: AuditCell, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cell of before, whose directory has no version."""
    key = ready.key("acme", "t1")
    assert pulled(capsys) == ({"version": 0}, 0)
    assert ready.search(key).status == 200
    new = give("other", "t1")
    pulled(capsys)
    assert ready.search(new).status == 200


def broken(cell: AuditCell) -> None:
    """Half of it is missing."""
    found = offered(cell)
    offer(cell, found["Body"].read()[:-10], found["Metadata"])


def unsigned(cell: AuditCell) -> None:
    """Its signature is missing."""
    offer(cell, offered(cell)["Body"].read(), {})


def forged(cell: AuditCell) -> None:
    """A key was put in, under the signature of what it was."""
    found = offered(cell)
    content = json.loads(found["Body"].read())
    content["applications"]["mallory"] = {"tenants": [], "keys": [{"hash": "0" * 64, "kind": "application"}]}
    offer(cell, json.dumps(content).encode(), found["Metadata"])


def of_another_region(cell: AuditCell) -> None:
    """A good one, of the region next door."""
    bucket = f"control-{cell.account}-directory"
    found = s3().get_object(Bucket=bucket, Key="us.json")
    offer(cell, found["Body"].read(), found["Metadata"])


def gone(cell: AuditCell) -> None:
    """It is deleted."""
    s3().delete_object(Bucket=f"control-{cell.account}-directory", Key="eu.json")


def without_control_plane(cell: AuditCell) -> None:
    """Nothing of it is there any more."""
    for name in ("eu.json", "us.json", "cells.json"):
        s3().delete_object(Bucket=f"control-{cell.account}-directory", Key=name)
    s3().delete_bucket(Bucket=f"control-{cell.account}-directory")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (broken, "broken"),
        (unsigned, "not signed"),
        (forged, "signature is wrong"),
        (of_another_region, "of region us"),
        (gone, "no snapshot any more"),
        (without_control_plane, "NoSuchBucket"),
    ],
)
def test_the_last_good_snapshot_serves_on(
    ready: AuditCell, spoil: Callable[[AuditCell], None], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever becomes of the control plane's; and it is counted."""
    key = give("acme", "t1")
    (good, _), _ = pulled(capsys), publish.publish()
    spoil(ready)
    answer, stale = pulled(capsys)
    assert (answer["version"], stale) == (good["version"], 1)
    assert why in str(answer["stale"])
    assert ready.search(key).status == 200


def test_an_older_snapshot_brings_no_revoked_key_back(
    ready: AuditCell, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though it is signed."""
    key = give("acme", "t1")
    old = offered(ready)
    body = old["Body"].read()
    known.revoke(*known.find([hashlib.sha256(base64.b64decode(key)).hexdigest()], known.list_keys()))
    publish.publish()
    pulled(capsys)
    offer(ready, body, old["Metadata"])
    answer, stale = pulled(capsys)
    assert ("no newer" in str(answer["stale"]), stale) == (True, 1)
    assert ready.search(key).status == 401


def test_an_older_copy_in_the_cell_is_made_good(ready: AuditCell, capsys: pytest.CaptureFixture[str]) -> None:
    """A way back to a release whose storage brought the directory itself puts that one there once more."""
    key = give("acme", "t1")
    good, _ = pulled(capsys)
    for content in (b'{"applications": {}}', b"no JSON"):
        s3().put_object(Bucket=ready.bucket("config"), Key="directory.json", Body=content)
        assert pulled(capsys) == (good, 0)
        assert ready.search(key).status == 200


def test_a_cell_that_can_know_nobody_is_not_ready(ready: AuditCell) -> None:
    """Its deployment fails: it would lock every customer out."""
    without_control_plane(ready)
    with pytest.raises(ClientError, match="NoSuchBucket"):
        pull.handler()


def test_of_two_that_publish_at_once_none_is_forgotten(
    ready: AuditCell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who read the tables before the other's key was there publishes once more."""
    keys, read = [known.make_key("acme", "t1")], publish.known_in

    def meanwhile(region: str) -> Any:
        found = read(region)
        monkeypatch.setattr(publish, "known_in", read)
        keys.append(give("acme", "t2"))
        return found

    monkeypatch.setattr(publish, "known_in", meanwhile)
    publish.publish()
    pulled(capsys)
    assert [ready.search(key).status for key in keys] == [200, 200]


def test_a_control_plane_made_anew_is_newer_than_what_its_cells_know(
    ready: AuditCell, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its first version is no 1."""
    give("acme")
    first, _ = pulled(capsys)
    gone(ready)
    give("acme")
    again, stale = pulled(capsys)
    assert (again != first, stale) == (True, 0)


def test_no_secret_is_published(ready: AuditCell) -> None:
    """Key hashes only."""
    secret = base64.b64decode(give("acme", "t1")).decode().rsplit(",", 1)[-1]
    assert secret.encode() not in offered(ready)["Body"].read()
    assert boto3.client("s3").list_objects_v2(Bucket=f"control-{ready.account}-directory")["KeyCount"] == 3
