"""A release's folder, read as far as views are made of it."""

from __future__ import annotations

import hashlib
import posixpath
import sys
import threading
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path

import cellwave
from cellwave.fleet.model import Fleet
from cellwave.fleet.parse import parse_fleet
from cellwave.frozen import digest_of
from cellwave.programs.packages import find_packages
from cellwave.programs.settings import project_file, project_of, runtime_of, settings_place
from cellwave.project import Project
from cellwave.release import MANIFEST, Release
from cellwave.releases.views import Beside, Sources
from cellwave.toolchain.hosts import PYTHON

BLOCKS = ("cell", "fleet", "errors.py", "frozen.py")  # what programs may import of cellwave's own
_READING = threading.Lock()


@lru_cache(maxsize=16)
def fleet_in(folder: Path) -> Fleet:
    """The fleet as the release in this folder froze it, which never changes."""
    return parse_fleet(Project(folder).config_files())


@lru_cache(maxsize=16)
def sources_of(folder: Path) -> Sources:
    """What views of the release in this folder are made of, as the store made it. ValueError where a program's
    Pulumi.yaml is none."""
    release = Release.model_validate_json((folder / MANIFEST).read_bytes())
    fleet = fleet_in(folder)
    return Sources(release, fleet, read_beside(folder, fleet))


def read_beside(root: Path, fleet: Fleet) -> dict[str, Beside]:
    """What lies beside each of the fleet's programs. ValueError where a Pulumi.yaml is none, or asks for packages that
    no file tells."""
    programs = {service.program for service in (*fleet.control_services, *fleet.services)}
    return {program: _beside(root, program) for program in programs}


def _beside(root: Path, program: str) -> Beside:
    folder = (root / program).resolve()
    file, project = project_file(folder), project_of(folder)
    assert file is not None
    packages = find_packages(folder, project)
    below, ending = settings_place(folder)
    settings = posixpath.normpath(posixpath.join(program, below))
    runtime, main = str(runtime_of(project)), ""
    if runtime == PYTHON:
        target = (folder / str(project.get("main", "."))).resolve()
        main = _named(root, target / "__main__.py" if target.is_dir() else target)
        runtime = f"{PYTHON} {sys.version_info.major}.{sys.version_info.minor}"
        runtime += "" if packages else f" with {cellwave_packages()}"
    return Beside(
        project=posixpath.normpath(posixpath.join(program, file.name)),
        locks=frozenset(_named(root, path) for path in packages.files) if packages else frozenset(),
        settings="" if settings == "." else f"{settings}/",
        ending=ending,
        main=main,
        runtime=runtime,
    )


def _named(root: Path, path: Path) -> str:
    return path.relative_to(root.resolve()).as_posix()


def cellwave_packages() -> str:
    """One digest of what a Python program without packages of its own runs with: those beside cellwave, by version, and
    cellwave's own building blocks, by content."""
    with _READING:  # of a hundred deployments that begin at once, one reads it
        return _cellwave_packages()


@lru_cache(maxsize=1)
def _cellwave_packages() -> str:
    package = Path(cellwave.__path__[0])
    sources = sorted(
        path
        for block in BLOCKS
        for path in ((package / block).rglob("*.py") if (package / block).is_dir() else [package / block])
    )
    blocks = {p.relative_to(package).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sources}
    return digest_of([sorted({f"{found.name}=={found.version}" for found in distributions()}), blocks])
