"""Is there room where an attempt writes? Asked of the disk: what a full one does to others can look like anything."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cellwave.faults import of_error

ENOUGH = 1 << 16  # bytes: a state, or a page or two of a database


def trouble(error: BaseException) -> str:
    """What keeps something from being written, in words."""
    read_only = isinstance(error, OSError) and error.errno == errno.EROFS
    return "the disk can't be written to" if read_only else "the disk is full"


def unwritable(folders: Iterable[Path]) -> str:
    """In words, which of these folders takes nothing more: full, over a quota or read-only; "" when all do."""
    for folder in folders:
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(ENOUGH))
                file.flush()
        except OSError as error:
            if of_error(error) == "disk":
                free = shutil.disk_usage(folder).free
                return f"{trouble(error)}: {free // 1024} KiB free in {folder} ({error.strerror})"
    return ""
