"""The locks of programs' own packages: renewed, tried and taken along when a release is built."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from cellwave.errors import BadInput
from cellwave.programs.environments import ensure_environment
from cellwave.programs.packages import (
    LOCK,
    NoLock,
    find_packages,
    folders_of,
    options_of,
    renew_lock,
    text_of,
)
from cellwave.programs.settings import project_of, runtime_of
from cellwave.project import Project
from cellwave.releases.files import Selection
from cellwave.toolchain.hosts import PYTHON


def lock_packages(
    project: Project, program: str, selection: Selection, report: Callable[[str], None]
) -> set[str]:
    """The files (relative to the project's root) that tell a program's own packages; none when it has none.

    Its environment is made here once, so that a lock that can't be installed is known now: BadInput or Unavailable.
    """
    folder = (project.root / program).resolve()
    read = project_of(folder)
    try:
        packages = find_packages(folder, read)
        if packages is None:
            _refuse_unlocked(folder, read)
            return set()
        if renew_lock(packages):
            report(
                f"{_named(project, packages.folder / LOCK)} was made of {packages.source.name}: keep it beside that"
            )
        ensure_environment(project.home, packages, report)
    except NoLock as error:
        raise BadInput(f"{program}/Pulumi.yaml", error.found, error.expected) from None
    return set().union(*(selection.below(_named(project, file)) for file in packages.files))


def _refuse_unlocked(folder: Path, project: dict[str, Any]) -> None:
    """NoLock for a Python program that has packages of its own which no file tells: with cellwave's it would fail, or
    work by luck."""
    right = "a requirements.txt, uv.lock or poetry.lock beside it"
    name = options_of(project).get("virtualenv")
    environment = folder / str(name)
    if (
        name
        and (environment / "pyvenv.cfg").is_file()
        and environment.resolve() != Path(sys.prefix).resolve()
    ):
        raise NoLock(f"no file tells the packages of {name}", right)
    if runtime_of(project) == PYTHON:
        for beside in folders_of(folder, str(project.get("main", "."))):
            if (beside / "Pipfile").is_file():
                raise NoLock("a Pipfile, which is not read", right)
            if (beside / "pyproject.toml").is_file() and _has_dependencies(beside / "pyproject.toml"):
                raise NoLock("no lock tells the packages of pyproject.toml", right)


def _has_dependencies(file: Path) -> bool:
    """Whether a pyproject.toml asks for packages; not that of a project that is installed here, as cellwave's is."""
    try:
        read = tomllib.loads(text_of(file))
    except tomllib.TOMLDecodeError as error:
        raise NoLock(f"pyproject.toml can't be read: {error}", "TOML") from None
    project = read.get("project", {})
    poetry = read.get("tool", {}).get("poetry", {}).get("dependencies", {})
    installed = next(iter(distributions(name=str(project.get("name", "-")))), None)
    return bool(project.get("dependencies") or poetry.keys() - {"python"}) and not installed


def _named(project: Project, file: Path) -> str:
    return file.relative_to(project.root.resolve()).as_posix()
