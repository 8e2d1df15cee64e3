"""What is peculiar to each store: kills and full disks here, damage and reach there."""

from __future__ import annotations

import errno
import subprocess
import sys
import textwrap
from pathlib import Path
from uuid import uuid4

import boto3
import pytest

from cellwave.errors import BadInput, Unavailable
from cellwave.project import Project
from cellwave.release import Release
from cellwave.releases.build import build_release
from cellwave.releases.open import open_store
from cellwave.releases.s3 import S3Store
from cellwave.releases.store import DirectoryStore

KILLED_EVERYWHERE = """
    import hashlib, os, sys
    from pathlib import Path
    from cellwave.release import Release
    from cellwave.releases.store import DirectoryStore
    from cellwave.releases.verify import verify_release

    content = {f"d{n}/f{n}.py": str(n).encode() for n in range(4)}
    files = {path: hashlib.sha256(data).hexdigest() for path, data in content.items()}
    release = Release(version="v1", files=files, code={})
    EFFECTS = ("open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "shutil.rmtree")

    def child(store, last):
        done = 0
        def hook(event, args):
            nonlocal done
            if event in EFFECTS:
                done += 1
                if done > last:
                    os._exit(9)
        sys.addaudithook(hook)
        store.put(release, content)
        os._exit(0)

    for last in range(1000):
        store = DirectoryStore(Path(sys.argv[1]) / str(last))
        pid = os.fork()
        if pid == 0:
            child(store, last)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        for seen in store.list():
            assert not verify_release(store.path(seen.digest)), (last, verify_release(store.path(seen.digest)))
        store.put(release, content)
        assert store.list() == (release,), last
        assert not verify_release(store.path(release.digest)), last
        if code == 0:
            print(last)
            break
"""


def test_a_build_killed_at_any_instant_leaves_nothing_half_visible(tmp_path: Path) -> None:
    """Killed before each of its effects on the disk in turn: what is listed is whole, and the next build works."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED_EVERYWHERE), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 15


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The space was there when it was looked at, but not when it was needed: named, and cleaned up."""

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(Unavailable, match=r"the disk filled up: \d+\.\d MB free in ") as told:
            build_release(project, "v1")
    assert told.value.fault == "disk"
    assert list((project.home / "releases").iterdir()) == []
    assert build_release(project, "v1").version == "v1"


def test_a_release_whose_folder_is_gone_is_named_and_can_be_built_again(project: Project) -> None:
    """Somebody removed the folder: the error says so, and building again restores it."""
    release = build_release(project, "v1")
    store = open_store(project)
    folder = store.path(release.digest)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(Unavailable, match=f"the folder of release v1 is gone: {folder}"):
        store.path(release.digest)
    build_release(project, "v1")
    assert store.path(release.digest) == folder


def test_a_releases_path_is_found_without_reading_any_manifest(tmp_path: Path) -> None:
    """Every step of a rollout asks for it, and a store may have a thousand releases."""
    store, release = DirectoryStore(tmp_path), Release(version="v1", files={"a": "0" * 64}, code={})
    store.put(release, {"a": b""})
    for manifest in (tmp_path / "versions").iterdir():
        manifest.write_text("not to be read")
    assert store.path(release.digest) == tmp_path / release.digest


def test_the_store_is_in_the_home_unless_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """CELLWAVE_RELEASES names a bucket; any other address is refused."""
    assert isinstance(open_store(project), DirectoryStore)
    monkeypatch.setenv("CELLWAVE_RELEASES", "https://example.com/releases")
    with pytest.raises(BadInput) as caught:
        open_store(project)
    assert (caught.value.where, caught.value.expected) == ("CELLWAVE_RELEASES", "s3://bucket/prefix")


@pytest.fixture
def bucket(sandbox: Project) -> str:
    """A new bucket in the sandbox."""
    name = f"releases-{uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


def test_what_one_machine_built_another_fetches(project: Project, bucket: str, tmp_path: Path) -> None:
    """Two stores on one bucket, each with a cache of its own, hold the same release."""
    here = S3Store.at(f"s3://{bucket}/x", cache=tmp_path / "here")
    there = S3Store.at(f"s3://{bucket}/x/", cache=tmp_path / "there")
    release = build_release(project, "v1", here)
    folder = there.path(there.get("v1").digest)
    assert folder == tmp_path / "there" / release.digest
    assert (folder / "src/greeter/app.py").read_text() == (project.root / "src/greeter/app.py").read_text()


def test_what_was_fetched_needs_no_bucket_any_more(project: Project, bucket: str, tmp_path: Path) -> None:
    """A rollout, and its way back, goes on while the bucket can't be reached."""
    store = S3Store.at(f"s3://{bucket}", cache=tmp_path)
    folder = store.path(build_release(project, "v1", store).digest)
    assert S3Store.at("s3://no-such-bucket-anywhere", cache=tmp_path).path(folder.name) == folder


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda data: data[:-30], "is damaged: File is not a zip file"),
        (lambda data: b"", "is damaged: File is not a zip file"),
        (lambda data: data.replace(b"lib/data.bin", b"lib/gone.bin"), "is damaged: .*lib/data.bin"),
        (None, "is gone"),
    ],
)
def test_a_damaged_archive_is_refused(
    project: Project, bucket: str, tmp_path: Path, damage: object, found: str
) -> None:
    """What the bucket holds is verified before it becomes a folder, so no damaged release is ever run."""
    client = boto3.client("s3")
    store = S3Store.at(f"s3://{bucket}", cache=tmp_path / "cache")
    release = build_release(project, "v1", store)
    key = f"{release.digest}.zip"
    data = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    if callable(damage):
        client.put_object(Bucket=bucket, Key=key, Body=damage(data))
    else:
        client.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(Unavailable, match=f"s3://{bucket}/{key} {found}"):
        store.path(release.digest)
    assert not (tmp_path / "cache" / release.digest).exists()


@pytest.mark.parametrize(
    "manifest",
    [
        b"{",
        b'{"version": "v2", "files": {"../../evil.py": "0"}, "code": {}}',
        b'{"version": "v2", "files": {"/tmp/evil.py": "0"}, "code": {}}',
    ],
)
def test_a_manifest_that_is_none_is_refused(
    project: Project, bucket: str, tmp_path: Path, manifest: bytes
) -> None:
    """Whoever may write into the bucket can't write outside the cache of those who read from it."""
    store = S3Store.at(f"s3://{bucket}", cache=tmp_path / "cache")
    boto3.client("s3").put_object(Bucket=bucket, Key="versions/v2.json", Body=manifest)
    for call in (store.list, lambda: store.get("v2"), lambda: build_release(project, "v2", store)):
        with pytest.raises(Unavailable, match=f"s3://{bucket}/versions/v2.json is damaged: "):
            call()


def test_a_bucket_out_of_reach_is_named(sandbox: Project, project: Project, tmp_path: Path) -> None:
    """No such bucket: the error names it, and says what to check."""
    store = S3Store.at("s3://no-such-bucket-anywhere/x", cache=tmp_path)
    for call in (store.list, lambda: build_release(project, "v1", store)):
        with pytest.raises(Unavailable, match=r"s3://no-such-bucket-anywhere/x/: ") as caught:
            call()
        assert "CELLWAVE_RELEASES" in caught.value.hint
