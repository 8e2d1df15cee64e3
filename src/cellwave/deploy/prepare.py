"""The engine's working directory: a program's copy, its project file and settings, and its packages."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from cellwave.deploy.placed import configuration
from cellwave.deploy.port import Job
from cellwave.errors import Unavailable
from cellwave.programs.environments import ensure_environment
from cellwave.programs.packages import NoLock, find_packages
from cellwave.programs.settings import configured, project_of, runtime_of, settings_file
from cellwave.releases.files import MANIFEST
from cellwave.releases.verify import verify_release
from cellwave.toolchain.hosts import PYTHON


def private(job: Job, work: Path) -> Job:
    """The job on a copy of its release: what a program writes beside itself changes no release.

    A destroy runs no program. ValueError when the release's folder is not what was built.
    """
    source = Path(job.source)
    if not job.release or job.operation == "destroy" or not (source / MANIFEST).is_file():
        return job
    if damage := verify_release(source):
        raise ValueError(f"the folder of release {job.release[:12]} was changed: {damage}")
    copy = work / "release"
    shutil.copytree(source, copy)
    program = copy / Path(job.program).relative_to(source)
    return job.model_copy(update={"source": str(copy), "program": str(program)})


def prepare_work(job: Job, work: Path, home: Path) -> tuple[str, Path | None, Path | None]:
    """Give the engine a Pulumi.yaml (and the stack's settings) of its own, and the program its packages.

    Returns the project's name, the program (None: it is of a language that the engine runs by its own host), and the
    virtual environment to run it by (None: cellwave's own).
    """
    source = Path(job.program)
    project = project_of(source)
    program = (source / project.get("main", ".")).resolve()
    settings = settings_file(source, job.stack)
    packages, made = None, None
    # A destroy runs dynamic providers and no program: packages that are gone are not to keep it.
    with suppress(*((NoLock, Unavailable, OSError) if job.operation == "destroy" else ())):
        if packages := find_packages(source, project):
            made = ensure_environment(home, packages, lambda line: None)
    project.pop("stackConfigDir", None)
    if isinstance(project.get("config"), str):  # the older name of that
        del project["config"]
    if runtime_of(project) == PYTHON:
        project["runtime"] = PYTHON  # the virtual environment is told by us
    # As YAML, not JSON: a program in YAML may hold dates.
    YAML(typ="safe").dump({**project, "main": str(program)}, work / "Pulumi.yaml")
    own = configured(settings)
    if whole := _configuration(job, own.get("config") or {}, settings.name):
        (work / f"Pulumi.{job.stack}.yaml").write_text(json.dumps({**own, "config": whole}))
    if runtime_of(project) == PYTHON:
        return project["name"], program, made
    if packages and made and not (modules := packages.folder / "node_modules").exists():
        modules.symlink_to(made / "node_modules")
    return project["name"], None, None


def _configuration(job: Job, own: dict[str, Any], file: str) -> dict[str, Any]:
    """The stack's own configuration with the cell's on top; ValueError where it says something else than the cell."""
    if job.place is None:
        return own
    wanted = configuration(job.place, job.stack)
    for key in ("aws:region", "aws-native:region"):
        if own.get(key, wanted[key]) != wanted[key]:
            cell = job.place.cell
            raise ValueError(f"{file}: {key} is {own[key]!r}, but cell {cell} is in {wanted[key]}")
    return {**own, **wanted}
