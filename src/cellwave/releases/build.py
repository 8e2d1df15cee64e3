"""Freezing a project's working tree into a release."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ruamel.yaml.error import YAMLError

from cellwave.errors import BadInput
from cellwave.fleet.model import Fleet, Service
from cellwave.fleet.parse import parse_fleet
from cellwave.fleet.yamlfile import read
from cellwave.programs.check import check_programs_here
from cellwave.programs.settings import configured, project_file, settings_place
from cellwave.project import Project
from cellwave.release import MANIFEST, Release
from cellwave.releases.code import code_digest, code_files
from cellwave.releases.files import Selection
from cellwave.releases.locks import lock_packages
from cellwave.releases.open import open_store
from cellwave.releases.sources import read_beside
from cellwave.releases.store import ReleaseStore
from cellwave.releases.views import declared
from cellwave.text import visible
from cellwave.waves.parse import parse_strategy

_ENV_FILE = re.compile(r"(^|/)\.env(\.[^/]*)?$")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


def build_release(
    project: Project,
    version: str | None,
    store: ReleaseStore | None = None,
    *,
    left_out: Callable[[str, str], None] = lambda path, why: None,
    report: Callable[[str], None] = lambda line: None,
) -> Release:
    """Freeze what every service includes, with cells/ and waves.yaml, and put it into the project's store.

    Without a version it is named by its content, `tree-<digest>`. `left_out` is told each path below what the
    services include that is not of the release, and why; `report`, what takes long.

    Building again is idempotent. BadInput: a fleet or strategy that doesn't hold, a path that isn't there, or
    a version that names other content already. Unavailable: no disk space. Nothing is changed then.
    """
    if version is not None and not _VERSION.fullmatch(version):
        raise BadInput("--version", f"{version!r}", "letters, digits and . _ + -, at most 64, such as v2")
    texts = project.config_files()
    fleet = parse_fleet(texts)
    parse_strategy(project.waves_file(), fleet)
    services = (*fleet.control_services, *fleet.services)
    places = _Places(texts, {service.name for service in fleet.control_services})
    selection = Selection(project.root)
    paths = {*texts, "waves.yaml"}.union(*(_collect(selection, service, places) for service in services))
    check_programs_here(project, project.root, services)
    settings = _settings(selection, fleet)
    paths = paths - settings.keys() | {path for path, holds in settings.items() if holds}
    for program in dict.fromkeys(service.program for service in services):
        paths |= lock_packages(project, program, selection, report)
    if MANIFEST in paths:
        raise BadInput(MANIFEST, "a file of this name", "another name: a release's own manifest is called so")
    for path in sorted(path for path in paths if _ENV_FILE.search(path)):
        report(
            f"{path} is of the release, with whatever secrets it has: a line in .cellwaveignore leaves it out"
        )
    content = {path: (project.root / path).read_bytes() for path in sorted(paths)}
    executable = tuple(path for path in content if (project.root / path).stat().st_mode & 0o100)
    release = freeze(version or "tree", content, services, executable)
    _check_seen(project.root, release, fleet, places)
    if version is None:
        release = release.model_copy(update={"version": release.tree_name})
    release = (store or open_store(project)).put(release, content)
    for path, why in sorted(selection.left_out.items()):
        if path not in paths:
            left_out(path, why)
    return release


def _check_seen(root: Path, release: Release, fleet: Fleet, places: _Places) -> None:
    """BadInput for a service whose program does not see itself, by file and line."""
    beside = read_beside(root, fleet)
    for service in (*fleet.control_services, *fleet.services):
        of = beside[service.program]
        if of.main and of.main not in declared(release, service, of):
            found = f"service {service.name} runs {of.main}, and does not include it"
            raise BadInput(places.of(service.name, "include"), found, "all that its program imports, too")


def _settings(selection: Selection, fleet: Fleet) -> dict[str, bool]:
    """The files of stacks' settings that are there, and whether they hold configuration: what a program is told is part
    of its release, and what the engine noted by itself (`encryptionsalt:` alone) is of one state backend.

    BadInput when one can't be read, or is none that a release can hold. Secrets in them are encrypted.
    """
    found = {}
    for stack in fleet.stacks:
        cell, name = stack.split(".")
        program = fleet.service(cell, name).program
        try:
            below, ending = settings_place(selection.root / program)
            file = posixpath.normpath(posixpath.join(program, below, f"Pulumi.{stack}{ending}"))
            holds = bool(configured(selection.root / file))
        except (ValueError, OSError, YAMLError) as error:
            said = visible(" ".join(str(error).split()))
            raise BadInput(f"{program}: settings of {stack}", said, "what `pulumi up` can read") from None
        if holds:
            selection.below(file)  # refuses what has no content of its own
        elif (selection.root / file).is_file():
            selection.left_out[file] = "no configuration; what the engine notes there is of one state backend"
        found[file] = holds
    return found


def freeze(
    version: str,
    content: Mapping[str, bytes],
    services: tuple[Service, ...],
    executable: tuple[str, ...] = (),
) -> Release:
    """The manifest of this content (bytes by path). Pure."""
    code = {}
    for service in services:
        if service.code:
            names = code_files(content, service.code)
            code[service.name] = code_digest({name: content[path] for name, path in names.items()})
    files = {path: hashlib.sha256(data).hexdigest() for path, data in content.items()}
    return Release(version=version, files=files, code=code, executable=executable, views=True)


class _Places:
    """Where a service's keys are written in fleet.yaml."""

    def __init__(self, texts: Mapping[str, str], control: set[str]) -> None:
        file = next(file for file in texts if Path(file).name == "fleet.yaml")
        self._document = read(texts[file], file)
        self._control = control

    def of(self, service: str, *key: str | int) -> str:
        above = ("control", "services") if service in self._control else ("services",)
        return self._document.where(*above, service, *key)


def _collect(selection: Selection, service: Service, places: _Places) -> set[str]:
    """The files that the service needs in a release."""
    paths: set[str] = set()
    for relative, key in _wanted(selection.root, service):
        found = selection.below(relative)
        if not found:
            why = selection.left_out.get(relative)
            there = f"which is never of a release ({why})" if why else "where there is no file"
            message = f"service {service.name} includes {relative!r}, {there}"
            raise BadInput(places.of(service.name, *key), message, "a file or folder of the project")
        if key[0] == "code" and not code_files(found, [relative]):
            message = f"the code of service {service.name} is {relative!r}, where there is no *.py file below"
            raise BadInput(places.of(service.name, *key), message, "a folder of Python code")
        paths |= found
    return paths


def _wanted(root: Path, service: Service) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Each path the service needs in a release, and the key that says so."""
    file = project_file(root / service.program)
    yield f"{service.program}/{file.name if file else 'Pulumi.yaml'}", ("program",)
    if not service.include:
        yield service.program, ("program",)
    for index, path in enumerate(service.include):
        yield path, ("include", index)
    for index, path in enumerate(service.code):
        yield path, ("code", index)
