"""The three releases of the demo: the working tree, the tree with a defect, the tree with the fix."""

from __future__ import annotations

import shutil
from pathlib import Path

import patch_ng

from cellwave.errors import CellwaveError
from cellwave.project import Project
from cellwave.release import Release
from cellwave.releases.build import build_release
from cellwave.releases.store import ReleaseStore

PATCHES = {"v1": (), "v2": ("v2-defect.patch",), "v3": ("v2-defect.patch", "v3-fix.patch")}
COPIED = ("Pulumi.yaml", "waves.yaml", "requirements.lock", "cells", "src")


def build_all(project: Project, scratch: Path, store: ReleaseStore) -> list[Release]:
    """Build v1, v2 and v3 from copies of the tree under `scratch`; the working tree is not touched."""
    return [_build(project, scratch / version, version, store) for version in PATCHES]


def _build(project: Project, tree: Path, version: str, store: ReleaseStore) -> Release:
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in COPIED:
        source = project.root / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / name)
    for name in PATCHES[version]:
        change = patch_ng.fromfile(str(project.root / "demo" / name))
        if not change or not change.apply(strip=1, root=str(tree)):
            raise CellwaveError(
                f"demo/{name} does not fit the working tree", hint="undo local changes to src"
            )
    return build_release(Project(tree), version, store)
