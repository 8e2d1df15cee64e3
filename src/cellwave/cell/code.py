"""The code that a function runs: an archive of the service's code folders.

The names inside are those that `cellwave.releases.code` digests; a test sees to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pulumi


@dataclass(frozen=True)
class CodeArchive:
    """`files` maps each name inside the archive to the file; the engine packs them the same way every time."""

    files: dict[str, Path]

    @property
    def archive(self) -> pulumi.AssetArchive:
        """The archive for a function's `code`."""
        return pulumi.AssetArchive({name: pulumi.FileAsset(path) for name, path in self.files.items()})


def code_archive(source: Path, folders: Iterable[str]) -> CodeArchive:
    """The `*.py` files below `folders` (relative to `source`), named from the folder `src` above them on.

    Without a `src` above, names are relative to `source`. RunError when there is no file at all.
    """
    files = {
        path.relative_to(_base(source, Path(folder))).as_posix(): path
        for folder in folders
        for path in (source / folder).rglob("*.py")
    }
    if not files:
        raise pulumi.RunError(f"no *.py file below {', '.join(folders) or 'no code folder'} in {source}")
    return CodeArchive(dict(sorted(files.items())))


def _base(source: Path, folder: Path) -> Path:
    return source / next((above for above in (folder, *folder.parents) if above.name == "src"), Path())
