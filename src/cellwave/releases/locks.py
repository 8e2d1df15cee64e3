"""The locks of programs' own packages: renewed, tried and taken along when a release is built."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from cellwave.deploy.environments import ensure_environment
from cellwave.deploy.packages import LOCK, NoLock, find_packages, options_of, renew_lock
from cellwave.deploy.settings import project_of
from cellwave.errors import BadInput
from cellwave.project import Project
from cellwave.releases.files import Selection


def lock_packages(
    project: Project, program: str, selection: Selection, report: Callable[[str], None]
) -> set[str]:
    """The files (relative to the project's root) that tell a program's own packages; none when it has none.

    Its environment is made here once, so that a lock that can't be installed is known now: BadInput or Unavailable.
    """
    folder = (project.root / program).resolve()
    try:
        packages = find_packages(folder, project_of(folder))
        if packages is None:
            _refuse_unlocked(folder)
            return set()
        if renew_lock(packages):
            report(
                f"{_named(project, packages.folder / LOCK)} was made of {packages.source.name}: keep it beside that"
            )
        ensure_environment(project.home, packages, report)
    except NoLock as error:
        raise BadInput(f"{program}/Pulumi.yaml", error.found, error.expected) from None
    return set().union(*(selection.below(_named(project, file)) for file in packages.files))


def _refuse_unlocked(folder: Path) -> None:
    """NoLock for a virtual environment of which no file tells the packages: it would not travel with the release."""
    name = options_of(project_of(folder)).get("virtualenv")
    environment = folder / str(name)
    if (
        name
        and (environment / "pyvenv.cfg").is_file()
        and environment.resolve() != Path(sys.prefix).resolve()
    ):
        raise NoLock(
            f"no file tells the packages of {name}", "a requirements.txt, uv.lock or poetry.lock beside it"
        )


def _named(project: Project, file: Path) -> str:
    return file.relative_to(project.root.resolve()).as_posix()
