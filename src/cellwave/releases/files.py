"""Reading the files of a release from a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cellwave.errors import BadInput

MANIFEST = "release.json"


def files_below(root: Path, relative: str) -> Iterator[str]:
    """The paths (relative to `root`, posix) of a file, or of all files below a folder, in no certain order.

    Left out: byte code and names beginning with a dot. BadInput for a symbolic link, whose target could lie
    anywhere.
    """
    start = root / relative
    itself = _checked(root, start)
    if start.is_file():
        yield itself
    for folder, folders, files in os.walk(start):
        folders[:] = [name for name in folders if not (name.startswith(".") or name == "__pycache__")]
        for name in files:
            if not (name.startswith(".") or name.endswith(".pyc")):
                yield _checked(root, Path(folder, name))
        for name in folders:
            _checked(root, Path(folder, name))


def _checked(root: Path, path: Path) -> str:
    relative = path.relative_to(root).as_posix()
    if path.is_symlink():
        raise BadInput(relative, "a symbolic link", "a file or folder: a release holds content")
    return relative
