"""What one deployment's program sees of its release, and the digest of all that it is given. Pure.

A view is made of what a service declares and of nothing else, and a program runs in it: so what is digested here is
what there is to see (decisions 0057 and 0058).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from hashlib import sha256

from cellwave.fleet.files import FOLDER
from cellwave.fleet.model import Cell, Fleet, Region, Service
from cellwave.fleet.part import is_below, part_of
from cellwave.frozen import Frozen, canonical, digest_of
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
        files, _ = self._common[service.name]
        own = [path for path in (beside.settings_of(stack),) if path in self.release.files]
        part = part_of(self.fleet, cell, region, service)
        digests = {need.stack: need.digest for need in needs}
        return View(
            stack=stack,
            digest=self._digest(stack, service, _text(part), digests),
            needs=tuple(dict.fromkeys(name for need in needs for name in (need.stack, *need.needs))),
            files=(*files, *own),
            fleet=part,
        )

    def digests(self, cells: Collection[str]) -> dict[str, str]:
        """The digests of the views of all these cells' deployments, by stack: what the cells of a region have in
        common is put into words once."""
        found: dict[str, str] = {}
        if (control := self.fleet.control) and control.name in cells:
            found = {stack: view.digest for stack, view in self.views(control, None).items()}
        for region in self.fleet.regions:
            found |= self._digests(region, [cell for cell in region.cells if cell.name in cells])
        return found

    def _digests(self, region: Region, cells: Iterable[Cell]) -> dict[str, str]:
        services = {service.name: service for service in self.fleet.services}
        order = [*TopologicalSorter({s.name: s.needs for s in services.values()}).static_order()]
        some = region.cells[0]
        around = {
            name: _text(part_of(self.fleet, some, region, service)).split(_text(some))
            for name, service in services.items()
        }
        found: dict[str, str] = {}
        for cell in cells:
            own = _text(cell)
            for name in order:
                needs = {(stack := f"{cell.name}.{need}"): found[stack] for need in services[name].needs}
                stack = f"{cell.name}.{name}"
                found[stack] = self._digest(stack, services[name], own.join(around[name]), needs)
        return found

    def _digest(self, stack: str, service: Service, part: str, needs: Mapping[str, str]) -> str:
        """The digest of all inputs; `part` is the canonical text of its part of the fleet."""
        beside, (_, files) = self.beside[service.program], self._common[service.name]
        settings = beside.settings_of(stack)
        texts = {
            "files": canonical(files),
            "fleet": part,
            "needs": canonical(needs),
            "runtime": canonical(beside.runtime),
            "settings": canonical(self._contents([settings]) if settings in self.release.files else {}),
            "stack": canonical(stack),
        }
        inputs = ",".join(
            f'"{key}":{text}' for key, text in texts.items()
        )  # the text of it all, in canonical order
        return f"{SCHEME}:{sha256(f'{{{inputs}}}'.encode()).hexdigest()}"

    @cached_property
    def _common(self) -> dict[str, tuple[tuple[str, ...], str]]:
        """What every deployment of a service sees, and the digest of that."""
        services = (*self.fleet.control_services, *self.fleet.services)
        found = {s.name: declared(self.release, s, self.beside[s.program]) for s in services}
        return {name: (files, digest_of(self._contents(files))) for name, files in found.items()}

    def _contents(self, paths: Iterable[str]) -> dict[str, list[object]]:
        executable = set(self.release.executable)
        return {path: [self.release.files[path], path in executable] for path in paths}


def _text(value: Frozen) -> str:
    return canonical(value.model_dump(mode="json"))


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
