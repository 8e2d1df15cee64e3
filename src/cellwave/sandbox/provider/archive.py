"""The bytes of Pulumi assets and archives."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cellwave.sandbox.provider.values import ARCHIVE, SIGNATURE

# Equal files give equal bytes: zip can't say less than this date.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Unreadable(Exception):
    """An asset or archive that can't be read; the text says why."""


def asset_bytes(asset: dict[str, Any]) -> bytes:
    """The content of an asset: a text or a file."""
    if "text" in asset:
        return str(asset["text"]).encode()
    if "path" in asset:
        return _local(asset["path"]).read_bytes()
    raise Unreadable("a remote asset: only text and local files can be read here")


def archive_zip(archive: dict[str, Any]) -> bytes:
    """An archive as zip: a .zip file as it is; a folder or a map of assets packed the same way every time."""
    if "path" in archive and (file := _local(archive["path"])).is_file():
        return _zip_file(file)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in sorted(_entries(archive)):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, content)
    return packed.getvalue()


def _entries(archive: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Every file of an archive with its path inside it."""
    if "assets" in archive:
        for name, item in archive["assets"].items():
            if item.get(SIGNATURE) == ARCHIVE:
                yield from ((f"{name}/{inner}", content) for inner, content in _entries(item))
            else:
                yield name, asset_bytes(item)
    elif "path" not in archive:
        raise Unreadable("a remote archive: only local files, folders and maps of assets can be read here")
    elif (root := _local(archive["path"])).is_dir():
        for file in sorted(path for path in root.rglob("*") if path.is_file()):
            yield file.relative_to(root).as_posix(), file.read_bytes()
    else:
        with zipfile.ZipFile(io.BytesIO(_zip_file(root))) as inside:
            yield from ((name, inside.read(name)) for name in inside.namelist() if not name.endswith("/"))


def _zip_file(file: Path) -> bytes:
    if not zipfile.is_zipfile(file):
        raise Unreadable(f"{file}: expected a zip file or a folder")
    return file.read_bytes()


def _local(path: str) -> Path:
    file = Path(path)
    if not file.exists():
        raise Unreadable(f"{path}: there is no such file or folder")
    return file
