"""Find the Pulumi engine: on PATH when it is new enough, else in the project's `.cellwave/bin`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cellwave.errors import Unavailable
from cellwave.project import Project

OLDEST = (3, 150, 0)


@dataclass(frozen=True)
class Engine:
    """A Pulumi command line that works: its absolute path and its version."""

    path: Path
    version: str


def find_engine(project: Project) -> Engine | None:
    """The engine to use, or None when none is installed; runs `pulumi version` once a process and file."""
    on_path = shutil.which("pulumi")
    for candidate in ([Path(on_path)] if on_path else []) + [project.bin / "pulumi"]:
        version = _version_of(candidate)
        if version and numbers(version) >= OLDEST:
            return Engine(candidate.absolute(), version)
    return None


def require_engine(project: Project) -> Engine:
    """The engine to use; Unavailable when none is installed."""
    engine = find_engine(project)
    if engine is None:
        wanted = ".".join(map(str, OLDEST))
        raise Unavailable(
            f"there is no Pulumi engine (>= {wanted}) on PATH or in {project.bin}",
            hint="`make setup` installs one; so does `python -m cellwave.toolchain`",
            fault="host",
        )
    return engine


def numbers(version: str) -> tuple[int, ...]:
    """The first three numbers of a version's text, `v3.259.0-dev` -> (3, 259, 0); () when there are none."""
    found = re.search(r"([0-9]+)\.([0-9]+)(?:\.([0-9]+))?", version)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def _version_of(candidate: Path) -> str:
    try:
        stat = candidate.stat()
    except OSError:
        return ""
    try:
        return _asked(str(candidate), stat.st_mtime_ns, stat.st_size)
    except (OSError, subprocess.SubprocessError):
        return ""  # which is not remembered: the next time it may be answered


@lru_cache
def _asked(path: str, _mtime: int, _size: int) -> str:
    """What `pulumi version` says; an exception when it does not. A changed file is another key of the cache."""
    done = subprocess.run(
        [path, "version"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
    )
    return done.stdout.strip().removeprefix("v")
