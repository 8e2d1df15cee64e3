"""Values, differences, archives and names, without AWS or engine."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwave.frozen import canonical
from cellwave.sandbox.provider.archive import Unreadable, archive_zip, asset_bytes
from cellwave.sandbox.provider.aws import from_api, to_api
from cellwave.sandbox.provider.config import decoded
from cellwave.sandbox.provider.diff import Change, changes, in_place_of_itself
from cellwave.sandbox.provider.kinds import TYPES
from cellwave.sandbox.provider.relative import located
from cellwave.sandbox.provider.values import ARCHIVE, ASSET, SIGNATURE, from_struct, same, settle, to_struct

QUEUE = TYPES["aws:sqs/queue:Queue"]
FUNCTION = TYPES["aws:lambda/function:Function"]

scalars = st.text() | st.booleans() | st.integers(-(2**53), 2**53)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


@given(st.dictionaries(st.text(), values))
def test_a_struct_carries_values_there_and_back(props: dict[str, Any]) -> None:
    """What goes to the engine comes back the same: whole numbers stay whole, booleans are no numbers."""
    assert canonical(from_struct(to_struct(props))) == canonical(props)


@given(values, values)
def test_what_settles_means_the_same(live: Any, prior: Any) -> None:
    """Reading in the words of before changes words only: settling twice is settling once, and equal stays equal."""
    assert settle(live, live) == live
    assert settle(settle(live, prior), prior) == settle(live, prior)


def test_json_texts_are_compared_by_content() -> None:
    """AWS spells a policy in its own way; that is no change."""
    assert same('{"a": [1], "b": 2}', '{"b":2,"a":[1]}')
    assert not same('{"a": 1}', '{"a": 2}')
    assert settle({"policy": '{"b":2,"a":1}'}, {"policy": '{"a": 1, "b": 2}'}) == {
        "policy": '{"a": 1, "b": 2}'
    }


def test_archives_are_compared_by_hash() -> None:
    """The same content from another folder is no change."""
    here, there = ({SIGNATURE: ARCHIVE, "path": path, "hash": "h"} for path in ("/a", "/b"))
    assert changes(FUNCTION, {"code": here}, {"code": there}) == []
    assert changes(FUNCTION, {"code": here}, {"code": {**there, "hash": "i"}}) == [
        Change("code", "update", False)
    ]


def test_changes_are_told_path_by_path() -> None:
    """Each change has its own path, and says whether it adds, updates or deletes."""
    old = {"name": "q", "tags": {"a": "1", "b:c": "2"}, "delaySeconds": 5}
    new = {"name": "q", "tags": {"a": "2"}, "fifoQueue": True}
    assert changes(QUEUE, old, new) == [
        Change("delaySeconds", "update", replace=False),
        Change("fifoQueue", "add", replace=True),
        Change("tags.a", "update", replace=False),
        Change('tags["b:c"]', "delete", replace=False),
    ]


def test_saying_a_default_is_no_change() -> None:
    """An input left out and AWS's own default for it are the same; so is what says nothing."""
    assert changes(QUEUE, {"name": "q"}, {"name": "q", "visibilityTimeoutSeconds": 30, "tags": {}}) == []
    assert changes(QUEUE, {"name": "q"}, {"name": "q", "fifoQueue": False}) == []


def test_leaving_out_what_aws_fills_in_is_no_change() -> None:
    """A queue's policy may be set by another resource; one that says nothing of it leaves it alone."""
    assert changes(QUEUE, {"name": "q", "policy": "{}"}, {"name": "q"}) == []


def test_a_replacement_of_the_same_name_goes_after_its_predecessor() -> None:
    """Two queues of one name can't stand side by side; of two names they can."""
    old = {"name": "q"}
    assert in_place_of_itself(QUEUE, changes(QUEUE, old, {"name": "q", "fifoQueue": True}))
    assert not in_place_of_itself(QUEUE, changes(QUEUE, old, {"name": "r"}))
    assert not in_place_of_itself(QUEUE, changes(QUEUE, old, {"name": "q", "delaySeconds": 1}))


def test_api_parameters_follow_from_the_names() -> None:
    """camelCase becomes the API's own spelling, maps become its pairs, numbers and texts its types."""
    model = botocore.session.get_session().get_service_model("cloudwatch")
    shape = model.operation_model("PutMetricAlarm").input_shape
    assert shape is not None
    props = {"name": "a", "okActions": ["x"], "dimensions": {"ApiId": "1"}, "threshold": 1, "nothing": 1}
    assert to_api(shape, props, {"name": "AlarmName"}) == {
        "AlarmName": "a",
        "OKActions": ["x"],
        "Dimensions": [{"Name": "ApiId", "Value": "1"}],
        "Threshold": 1.0,
    }


def test_answers_become_properties_by_the_same_names() -> None:
    """What the API answers comes back under the property's name, in the property's type."""
    kind = TYPES["aws:cloudwatch/metricAlarm:MetricAlarm"]
    answer = {"AlarmName": "a", "Dimensions": [{"Name": "ApiId", "Value": "1"}], "Period": 60, "Other": 1}
    assert from_api(kind.types, answer, kind.rename) == {
        "name": "a",
        "dimensions": {"ApiId": "1"},
        "period": 60,
    }


def zip_entries(data: bytes) -> dict[str, bytes]:
    """Name and content of each file in a zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        return {name: found.read(name) for name in found.namelist()}


def test_an_archive_is_packed_the_same_way_every_time(tmp_path: Path) -> None:
    """Equal files give equal bytes, whether they come from a folder, a file, a text or a zip; in any order."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "b.py").write_text("b")
    (tmp_path / "a.py").write_text("a")
    folder = {SIGNATURE: ARCHIVE, "path": str(tmp_path)}
    inner = {SIGNATURE: ARCHIVE, "path": str(tmp_path / "pkg")}
    text = {SIGNATURE: ASSET, "text": "a"}
    packed = archive_zip({SIGNATURE: ARCHIVE, "assets": {"pkg": inner, "a.py": text}})
    assert zip_entries(packed) == {"a.py": b"a", "pkg/b.py": b"b"}
    assert archive_zip(folder) == packed

    as_zip = tmp_path / "code.zip"
    as_zip.write_bytes(packed)
    whole = {SIGNATURE: ARCHIVE, "path": str(as_zip)}
    assert archive_zip(whole) == packed
    assert zip_entries(archive_zip({SIGNATURE: ARCHIVE, "assets": {"z": whole}})) == {
        "z/a.py": b"a",
        "z/pkg/b.py": b"b",
    }


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        ({"path": "/nowhere/code"}, "no such file"),
        ({"path": __file__}, "expected a zip file or a folder"),
        ({"uri": "https://example.com/code.zip"}, "remote"),
    ],
)
def test_an_unreadable_archive_says_why(archive: dict[str, Any], reason: str) -> None:
    """What can't be read from here is refused in words."""
    with pytest.raises(Unreadable, match=reason):
        archive_zip({SIGNATURE: ARCHIVE, **archive})


def test_a_relative_path_needs_the_engine_that_meant_it() -> None:
    """It is from the folder of that engine's program; whoever calls and is no engine gives an absolute one."""
    there = {"key": "k", "source": {SIGNATURE: ASSET, "path": "/note.txt"}}
    assert located(there, "ipv4:127.0.0.1:1") == there
    inside = {SIGNATURE: ARCHIVE, "assets": {"a": {SIGNATURE: ASSET, "path": "note.txt"}}}
    with pytest.raises(Unreadable, match=r"note\.txt: a relative path"):
        located({"code": inside}, "ipv4:127.0.0.1:1")


def test_an_asset_is_a_text_or_a_file(tmp_path: Path) -> None:
    """Both give their bytes."""
    (tmp_path / "f").write_bytes(b"\x00")
    assert asset_bytes({"text": "é"}) == "é".encode()
    assert asset_bytes({"path": str(tmp_path / "f")}) == b"\x00"


def test_a_provider_setting_comes_as_json_text() -> None:
    """Lists and objects of a provider's configuration are JSON texts; a text stays one even if it looks like JSON."""
    given_ = {
        "region": "us-west-2",
        "allowedAccountIds": '["300000000001"]',
        "secretKey": "123",
        "skipMetadataApiCheck": "true",
    }
    assert decoded(given_) == {
        "region": "us-west-2",
        "allowedAccountIds": ["300000000001"],
        "secretKey": "123",
        "skipMetadataApiCheck": True,
    }
