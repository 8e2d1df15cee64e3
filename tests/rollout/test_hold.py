"""A hold is on content: whoever reads of it learns which versions it holds."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import cast

from cellwave.deploy.port import Deployer
from cellwave.health.ports import SignalSource
from cellwave.release import Release
from cellwave.releases.store import DirectoryStore
from cellwave.rollout.effects import Effects
from cellwave.rollout.model import HoldRelease
from cellwave.rollout.records import Records

CONTENT = {"Pulumi.yaml": b"name: x"}
RELEASE = Release(
    version="v2", files={name: sha256(data).hexdigest() for name, data in CONTENT.items()}, code={}
)


def held(folder: Path, *versions: str) -> tuple[DirectoryStore, str]:
    """The store, and what the journal says, when a release of these names is held."""
    store, records = DirectoryStore(folder / "releases"), Records(f"sqlite:///{folder / 'db'}")
    for version in versions:
        store.put(RELEASE.model_copy(update={"version": version}), CONTENT)
    ports = (cast(Deployer, None), cast(SignalSource, None))
    effects = Effects(folder, "t", records, store, *ports)
    effects.hold(HoldRelease(release=RELEASE.digest, reason="bad"), "v2-1")
    [entry] = records.journal("v2-1")
    assert entry.kind == "held"
    return store, entry.text


def test_a_hold_names_every_version_of_the_content(tmp_path: Path) -> None:
    """Two names of one content are held by one hold."""
    store, text = held(tmp_path, "v2", "v2b")
    assert store.held(RELEASE.digest) is not None
    assert text == f"{RELEASE.digest}: v2, and v2b: the same content"


def test_a_hold_of_one_version_names_it(tmp_path: Path) -> None:
    """There is nothing else to say."""
    assert held(tmp_path, "v2")[1] == f"{RELEASE.digest}: v2"


def test_a_hold_that_is_put_twice_is_told_once(tmp_path: Path) -> None:
    """A worker that is killed before it could tell of its end leaves it to the next."""
    assert held(tmp_path, "v2")[1] == held(tmp_path, "v2")[1]


def test_a_hold_that_is_put_stands_also_when_the_versions_can_not_be_read(tmp_path: Path) -> None:
    """Naming them is a courtesy."""
    store, text = held(tmp_path)
    assert store.held(RELEASE.digest) is not None
    assert text == RELEASE.digest
