"""What one deployment's program sees of its release, and the digest of all that it is given. Pure.

A view is made of what a service declares and of nothing else, and a program runs in it: so what is digested here is
what there is to see (decisions 0057 and 0058).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from cellwave.fleet.files import FOLDER
from cellwave.fleet.model import Cell, Fleet, Region, Service
from cellwave.fleet.part import is_below, part_of
from cellwave.frozen import Frozen, digest_of
from cellwave.release import RelativePath, Release

SCHEME = "i1"  # how inputs are digested: another way is another scheme, so that nothing equals what was digested before


class View(Frozen):
    """What a program sees: files of its release, and its part of the fleet. `digest` is that of all its inputs; those
    of the stacks in `needs`, whose outputs it may read, are among them."""

    stack: str
    digest: str
    needs: tuple[str, ...]
    files: tuple[RelativePath, ...]
    fleet: Fleet


@dataclass(frozen=True)
class Beside:
    """What belongs to a program by its place: its project file, the locks of its packages, and the folder ("" or ending
    with a slash) and ending of its stacks' settings. `main` is the file that runs where it is Python (else ""),
    `runtime` what runs it and is of no release, in words."""

    project: str
    locks: frozenset[str]
    settings: str
    ending: str
    main: str
    runtime: str

    def settings_of(self, stack: str) -> str:
        """The file of a stack's settings, there or not."""
        return f"{self.settings}Pulumi.{stack}{self.ending}"

    def is_settings(self, path: str) -> bool:
        """Whether a file is the settings of some stack."""
        name = path.removeprefix(self.settings)
        if path == self.project or not path.startswith(self.settings) or "/" in name:
            return False
        return name.startswith("Pulumi.") and name.endswith(self.ending)


@dataclass(frozen=True)
class Sources:
    """A release as views are made of it; `beside` is by program."""

    release: Release
    fleet: Fleet
    beside: Mapping[str, Beside]

    def view(self, stack: str) -> View:
        """The view of one deployment. KeyError: there is none of that name."""
        cell = stack.rpartition(".")[0]
        return self.views(self.fleet.cell(cell), self.fleet.region_of(cell))[stack]

    def views(self, cell: Cell, region: Region | None) -> dict[str, View]:
        """The view of each of a cell's deployments, by stack."""
        services = {service.name: service for service in self.fleet.services_of(cell.name)}
        made: dict[str, View] = {}

        def view(service: Service) -> View:
            if service.name not in made:
                made[service.name] = self._view(
                    cell, region, service, [view(services[n]) for n in service.needs]
                )
            return made[service.name]

        return {f"{cell.name}.{name}": view(service) for name, service in services.items()}

    def _view(self, cell: Cell, region: Region | None, service: Service, needs: list[View]) -> View:
        stack, beside = f"{cell.name}.{service.name}", self.beside[service.program]
        files, common = self._common[service.name]
        own = [path for path in (beside.settings_of(stack),) if path in self.release.files]
        part = part_of(self.fleet, cell, region, service)
        inputs = {
            "stack": stack,
            "files": common,
            "settings": self._contents(own),
            "fleet": part.model_dump(mode="json"),
            "needs": {need.stack: need.digest for need in needs},
            "runtime": beside.runtime,
        }
        return View.model_construct(  # of values that were validated: a plan makes thousands
            stack=stack,
            digest=f"{SCHEME}:{digest_of(inputs)}",
            needs=tuple(dict.fromkeys(name for need in needs for name in (need.stack, *need.needs))),
            files=(*files, *own),
            fleet=part,
        )

    @cached_property
    def _common(self) -> dict[str, tuple[tuple[str, ...], str]]:
        """What every deployment of a service sees, and the digest of that."""
        services = (*self.fleet.control_services, *self.fleet.services)
        found = {s.name: declared(self.release, s, self.beside[s.program]) for s in services}
        return {name: (files, digest_of(self._contents(files))) for name, files in found.items()}

    def _contents(self, paths: Iterable[str]) -> dict[str, list[object]]:
        executable = set(self.release.executable)
        return {path: [self.release.files[path], path in executable] for path in paths}


def declared(release: Release, service: Service, beside: Beside) -> tuple[str, ...]:
    """The files that a service declares, with those that lie beside its program; no stack's settings."""
    folders = {*(service.include or (service.program,)), *service.code}
    own = {beside.project, *beside.locks}
    return tuple(
        path
        for path in sorted(release.files)
        if path in own
        or (
            is_below(path, folders)
            and not beside.is_settings(path)
            and (service.include or not _is_cellwaves(path))
        )
    )


def _is_cellwaves(path: str) -> bool:
    """Whether a file is cellwave's to read, and no program's that does not ask for it."""
    return path == "waves.yaml" or path.startswith(f"{FOLDER}/")
