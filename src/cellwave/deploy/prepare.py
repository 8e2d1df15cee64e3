"""The engine's working directory: a program's copy, its project file and settings, and its packages."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from cellwave.deploy.broken import Damaged
from cellwave.deploy.placed import configuration
from cellwave.deploy.port import Job
from cellwave.errors import Unavailable
from cellwave.fleet.part import VIEW
from cellwave.programs.environments import ensure_environment
from cellwave.programs.packages import NoLock, find_packages
from cellwave.programs.settings import configured, project_of, runtime_of, settings_file
from cellwave.release import MANIFEST, Release
from cellwave.releases.verify import verify_release
from cellwave.releases.views import View
from cellwave.toolchain.hosts import PYTHON


def private(job: Job, work: Path) -> Job:
    """The job on a copy of what its program may see of its release: what it writes beside itself changes no release.

    A destroy runs no program. Damaged when the release's folder is not what was built.
    """
    source = Path(job.source)
    if not job.release or job.operation == "destroy" or not (source / MANIFEST).is_file():
        return job
    copy = work / "release"
    if job.view:
        make_view(source, job.release, job.view, copy)
    else:
        if damage := verify_release(source):
            raise Damaged(f"the folder of release {job.release[:12]} was changed: {damage}")
        shutil.copytree(source, copy)
    program = copy / Path(job.program).relative_to(source)
    return job.model_copy(update={"source": str(copy), "program": str(program)})


def make_view(source: Path, digest: str, view: View, folder: Path) -> None:
    """Put what a program sees into a new folder: files of the release in `source`, each checked against its manifest,
    and beside them what there is to know of its cell. Damaged when one of them is not what was built."""
    try:
        release = Release.model_validate_json((source / MANIFEST).read_bytes())
    except ValidationError as error:
        raise Damaged(f"the folder of release {digest[:12]} was changed: {MANIFEST}: {error}") from error
    damage = "" if release.digest == digest else f"changed: {MANIFEST}"
    for path in view.files:
        try:
            data = (source / path).read_bytes()
        except FileNotFoundError:
            damage = damage or f"missing: {path}"
            continue
        if hashlib.sha256(data).hexdigest() != release.files.get(path):
            damage = damage or f"changed: {path}"
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(0o755 if path in release.executable else 0o644)
    if damage:
        raise Damaged(f"the folder of release {digest[:12]} was changed: {damage}")
    known = folder / VIEW
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(view.model_dump_json(include={"stack", "digest", "fleet"}))


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
