"""What every store of releases does: in a directory, and in S3."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import boto3
import pytest

from cellwave.errors import BadInput
from cellwave.release import Release
from cellwave.releases.s3 import S3Store
from cellwave.releases.store import DirectoryStore, Hold, ReleaseStore
from cellwave.releases.verify import verify_release

ONE = {"a.py": b"1", "deep/er/b.bin": bytes(range(256))}
TWO = {"a.py": b"2", "deep/er/b.bin": bytes(range(256))}


def release_of(version: str, content: Mapping[str, bytes]) -> Release:
    """The manifest of some content."""
    files = {path: hashlib.sha256(data).hexdigest() for path, data in content.items()}
    return Release(version=version, files=files, code={})


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReleaseStore]:
    """An empty store of each kind; the S3 one in a bucket of its own in the sandbox."""
    if request.param == "directory":
        yield DirectoryStore(tmp_path / "releases")
        return
    request.getfixturevalue("sandbox")
    bucket = f"releases-{uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    yield S3Store.at(f"s3://{bucket}/team/a", cache=tmp_path / "cache")


def test_an_empty_store_knows_no_release(store: ReleaseStore) -> None:
    """Nothing is listed, and any name is unknown."""
    assert store.list() == ()
    with pytest.raises(BadInput) as caught:
        store.get("v1")
    assert (caught.value.where, caught.value.found) == ("release", "there is no release 'v1'")
    assert caught.value.expected == "there are no releases"


def test_a_release_is_found_by_version_digest_and_beginning(store: ReleaseStore) -> None:
    """The whole digest or its first four digits and more; three are too few."""
    release = store.put(release_of("v1", ONE), ONE)
    store.put(release_of("v2", TWO), TWO)
    assert store.get("v1") == store.get(release.digest) == store.get(release.digest[:4]) == release
    with pytest.raises(BadInput, match="there is no release"):
        store.get(release.digest[:3])


def test_an_unknown_release_is_answered_with_the_known(store: ReleaseStore) -> None:
    """The nearest name, and all of them."""
    store.put(release_of("v1", ONE), ONE)
    store.put(release_of("v10", TWO), TWO)
    with pytest.raises(BadInput) as caught:
        store.get("v100")
    assert caught.value.expected == "did you mean 'v10'? (known releases: v1, v10)"


def test_releases_are_listed_in_the_order_of_being_built(store: ReleaseStore) -> None:
    """Whatever their names are."""
    for version, content in (("v1", ONE), ("v2", TWO)):
        store.put(release_of(version, content), content)
    assert [release.version for release in store.list()] == ["v1", "v2"]


def test_the_folder_of_a_release_is_whole(store: ReleaseStore) -> None:
    """Its files at their places, its manifest, and nothing else."""
    release = store.put(release_of("v1", ONE), ONE)
    folder = store.path(release.digest)
    assert {path: (folder / path).read_bytes() for path in ONE} == ONE
    assert not verify_release(folder)
    assert store.path(release.digest) == folder


def test_the_folder_of_an_unknown_release_is_refused(store: ReleaseStore) -> None:
    """A digest that nobody built has no folder."""
    with pytest.raises(BadInput, match="there is no release"):
        store.path("0" * 64)


def test_putting_the_same_again_changes_nothing(store: ReleaseStore) -> None:
    """A build that was interrupted is simply run again."""
    first = store.put(release_of("v1", ONE), ONE)
    assert store.put(release_of("v1", ONE), ONE) == first
    assert store.list() == (first,)


def test_a_version_never_changes(store: ReleaseStore) -> None:
    """Other content under a name that is taken is refused and leaves no trace."""
    first = store.put(release_of("v1", ONE), ONE)
    with pytest.raises(BadInput, match=r"v1 names other content already \(changed a.py\)"):
        store.put(release_of("v1", TWO), TWO)
    assert store.list() == (first,)
    with pytest.raises(BadInput):
        store.path(release_of("v1", TWO).digest)


def test_two_versions_may_name_one_content(store: ReleaseStore) -> None:
    """A fix that restores the old content is the old release under a new name."""
    store.put(release_of("v1", ONE), ONE)
    store.put(release_of("v3", ONE), ONE)
    assert store.get("v3").digest == store.get("v1").digest
    assert [release.version for release in store.list()] == ["v1", "v3"]


def test_of_many_who_build_one_version_at_once_one_wins(store: ReleaseStore) -> None:
    """Every other is told that the name is taken; the winner's content is whole."""
    contents = [{"a.py": str(n).encode()} for n in range(6)]

    def put(content: Mapping[str, bytes]) -> str | None:
        try:
            return store.put(release_of("v1", content), content).digest
        except BadInput:
            return None

    with ThreadPoolExecutor(6) as pool:
        won = [digest for digest in pool.map(put, contents) if digest]
    assert [release.digest for release in store.list()] == won
    assert not verify_release(store.path(won[0]))


def test_of_many_who_build_the_same_at_once_all_succeed(store: ReleaseStore) -> None:
    """Equal content is no conflict."""
    release = release_of("v1", ONE)
    with ThreadPoolExecutor(6) as pool:
        digests = set(pool.map(lambda _: store.put(release, ONE).digest, range(6)))
        folders = set(pool.map(lambda _: store.path(release.digest), range(6)))
    assert digests == {release.digest}
    assert not verify_release(folders.pop())


def test_a_hold_says_why_and_who(store: ReleaseStore) -> None:
    """The last reason stands; taking it away twice is fine."""
    digest = store.put(release_of("v1", ONE), ONE).digest
    assert store.held(digest) is None
    store.hold(digest, "5xx in ap-south-1", "cellwave")
    store.hold(digest, "and slow", "kim")
    assert store.held(digest) == Hold(reason="and slow", by="kim")
    store.release_hold(digest)
    store.release_hold(digest)
    assert store.held(digest) is None


def test_a_hold_is_of_the_content(store: ReleaseStore) -> None:
    """The same content under another name is held too; a hold makes no release."""
    digest = store.put(release_of("v1", ONE), ONE).digest
    store.hold(digest, "bad", "kim")
    assert store.held(store.put(release_of("v2", ONE), ONE).digest) is not None
    assert [release.version for release in store.list()] == ["v1", "v2"]


def test_the_beginning_of_two_digests_is_refused(store: ReleaseStore) -> None:
    """Two digests with the same first four digits: more digits are asked for."""
    seen: dict[str, int] = {}
    for n in range(100_000):
        beginning = release_of("v", {"a": str(n).encode()}).digest[:4]
        if beginning in seen:
            break
        seen[beginning] = n
    for version, number in (("v1", seen[beginning]), ("v2", n)):
        content = {"a": str(number).encode()}
        store.put(release_of(version, content), content)
    with pytest.raises(BadInput, match=f"'{beginning}' begins 2 digests"):
        store.get(beginning)
