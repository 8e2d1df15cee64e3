"""Whether a release's folder still holds what was built."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from cellwave.project import Project
from cellwave.releases.build import build_release
from cellwave.releases.open import open_store
from cellwave.releases.verify import Damage, verify_release


@pytest.fixture
def folder(project: Project) -> Path:
    """The folder of a release just built."""
    return open_store(project).path(build_release(project, "v1").digest)


def test_an_untouched_release_is_intact(folder: Path) -> None:
    """No damage; byte code that a run of its program left behind counts for nothing."""
    (folder / "src/greeter/__pycache__").mkdir()
    (folder / "src/greeter/__pycache__/app.cpython-311.pyc").write_bytes(b"x")
    damage = verify_release(folder)
    assert not damage
    assert str(damage) == "intact"


def test_changed_missing_and_extra_files_are_named(folder: Path) -> None:
    """Each kind of damage with the files it befell."""
    (folder / "waves.yaml").write_text("waves: []\n")
    (folder / "lib/data.bin").unlink()
    (folder / "lib/more.bin").write_text("more")
    damage = verify_release(folder)
    assert damage == Damage(changed=("waves.yaml",), missing=("lib/data.bin",), extra=("lib/more.bin",))
    assert str(damage) == "changed: waves.yaml; missing: lib/data.bin; extra: lib/more.bin"


def test_a_manifest_that_follows_the_change_is_found_too(folder: Path) -> None:
    """Who changes a file and its hash in the manifest is given away by the folder's name."""
    manifest = folder / "release.json"
    first = next(iter(Path(folder, "cells").iterdir()))
    first.write_text("changed")
    value = json.loads(manifest.read_text())
    value["files"][f"cells/{first.name}"] = hashlib.sha256(b"changed").hexdigest()
    manifest.write_text(json.dumps(value))
    assert verify_release(folder) == Damage(changed=("release.json",))


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"version": 1}'])
def test_a_broken_manifest_is_damage(folder: Path, text: str) -> None:
    """A manifest that can't be read is named, not an error."""
    (folder / "release.json").write_text(text)
    assert verify_release(folder) == Damage(changed=("release.json",))


def test_a_folder_without_manifest_is_no_release(tmp_path: Path) -> None:
    """The manifest is missing, whatever else is there."""
    assert verify_release(tmp_path) == Damage(missing=("release.json",))
