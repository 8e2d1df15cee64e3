"""Does a release's folder still hold what was built?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from cellwave.frozen import Frozen
from cellwave.release import MANIFEST, Release
from cellwave.releases.files import BYTE_CODE, never


class Damage(Frozen):
    """How a release's folder differs from its manifest: paths relative to it. Falsy when nothing does."""

    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.extra)

    def __str__(self) -> str:
        kinds = (("changed", self.changed), ("missing", self.missing), ("extra", self.extra))
        return "; ".join(f"{kind}: {', '.join(paths)}" for kind, paths in kinds if paths) or "intact"


def verify_release(path: Path) -> Damage:
    """Compute every hash again. The folder's name is the digest; a manifest that doesn't give it is changed.

    Byte code that a run left behind counts for nothing.
    """
    if not (path / MANIFEST).is_file():
        return Damage(missing=(MANIFEST,))
    try:
        release = Release.model_validate_json((path / MANIFEST).read_bytes())
    except ValidationError:
        return Damage(changed=(MANIFEST,))
    there = set(_there(path)) - {MANIFEST}
    changed = [
        name
        for name, digest in release.files.items()
        if name in there and _is_other(release, path, name, digest)
    ]
    if release.digest != path.name:
        changed.append(MANIFEST)
    return Damage(
        changed=tuple(sorted(changed)),
        missing=tuple(sorted(release.files.keys() - there)),
        extra=tuple(sorted(there - release.files.keys())),
    )


def _is_other(release: Release, path: Path, name: str, digest: str) -> bool:
    file = path / name
    if file.is_symlink() or not file.is_file():
        return True
    is_executable = bool(file.stat().st_mode & 0o100)
    content = hashlib.sha256(file.read_bytes()).hexdigest()
    return content != digest or is_executable != (name in release.executable)


def _there(path: Path) -> Iterator[str]:
    """Everything below a folder that is no folder, byte code excepted; links are not followed."""
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if never(Path(folder, name)) != BYTE_CODE]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*files, *links):
            if never(Path(folder, name)) != BYTE_CODE:
                yield Path(folder, name).relative_to(path).as_posix()
