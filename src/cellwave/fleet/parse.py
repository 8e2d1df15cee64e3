"""cells/*.yaml -> Fleet: `fleet.yaml` holds what all cells share, every other file one product region."""

from __future__ import annotations

import graphlib
import itertools
import re
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from cellwave.errors import BadInput
from cellwave.fleet.model import Cell, Fleet, Homing, HttpProof, Name, Region, Service
from cellwave.fleet.partitions import REGIONS
from cellwave.fleet.yamlfile import Document, Path, did_you_mean, read, validate
from cellwave.frozen import Frozen

OUTPUT = "outputs[<stack output>]"
PLACEHOLDERS = (
    "cell",
    "service",
    "account",
    "aws_region",
    OUTPUT,
)  # and `region`, which the control plane has not


class _RegionFile(Frozen):
    region: Name
    endpoint: str = Field(min_length=1)
    residency: str = Field(min_length=1)
    cells: tuple[Cell, ...] = Field(min_length=1)


class _Control(Frozen):
    cell: Cell
    services: dict[Name, Service] = Field(min_length=1)


class _FleetFile(Frozen):
    role: str | None = None
    homing: Homing | None = None
    control: _Control | None = None
    services: dict[Name, Service] = Field(min_length=1)


@dataclass(frozen=True)
class _Placed:
    """A cell and where it is written."""

    cell: Cell
    document: Document
    path: Path

    def where(self, key: str) -> str:
        return self.document.where(*self.path, key)

    def bad(self, key: str, found: str, expected: str) -> BadInput:
        return self.document.bad((*self.path, key), found, expected)


def parse_fleet(files: Mapping[str, str]) -> Fleet:
    """The fleet of these files (text by path, such as "cells/us.yaml"); BadInput names file and line."""
    documents = {file: read(text, file) for file, text in files.items()}
    shared = next((d for file, d in documents.items() if file.rsplit("/", 1)[-1] == "fleet.yaml"), None)
    if shared is None:
        raise BadInput(
            "cells/fleet.yaml", "there is no such file", "a file that declares the services of every cell"
        )
    regional = [d for d in documents.values() if d is not shared]
    if not regional:
        raise BadInput(shared.file, "no product region beside it", "a file a region, such as cells/us.yaml")
    head = validate(_FleetFile, shared, _with_names(shared))
    regions = [(validate(_RegionFile, d), d) for d in regional]
    _check_services(head, shared)
    _check_regions(regions)
    placed = [_Placed(c, d, ("cells", i)) for r, d in regions for i, c in enumerate(r.cells)]
    control = [_Placed(head.control.cell, shared, ("control", "cell"))] if head.control else []
    _check_identities([*control, *placed])
    _check_partners([*control, *placed], {p.cell.name: p for p in placed})
    _check_parents([*control, *placed], {p.cell.name: p for p in placed})
    fleet = Fleet(
        role=head.role,
        homing=head.homing,
        control=head.control.cell if head.control else None,
        control_services=tuple(head.control.services.values()) if head.control else (),
        services=tuple(head.services.values()),
        regions=tuple(
            Region(name=r.region, endpoint=r.endpoint, residency=r.residency, cells=r.cells)
            for r, _ in regions
        ),
    )
    _check_roles(fleet, [*control, *placed], shared)
    return fleet


def name_cycle(edges: Mapping[str, Mapping[str, str]], verb: str) -> str | None:
    """The first cycle, edge by edge in words; None without one. `edges[a][b]` says where that is written."""
    try:
        graphlib.TopologicalSorter({a: list(targets) for a, targets in edges.items()}).prepare()
    except graphlib.CycleError as error:
        ring: list[str] = error.args[1][::-1]  # graphlib walks from the needed to the needing
        start = min(range(len(ring) - 1), key=ring.__getitem__)
        turned = [*ring[start:-1], *ring[:start], ring[start]]
        return ", ".join(f"{a} {verb} {b} ({edges[a][b]})" for a, b in itertools.pairwise(turned))
    return None


def _with_names(document: Document) -> dict[str, Any]:
    """The file's data with each service's key as its `name` (which nobody writes a second time)."""

    def named(block: Any, path: Path) -> Any:
        if not isinstance(block, dict) or not isinstance(block.get("services"), dict):
            return block
        for name, body in block["services"].items():
            if isinstance(body, dict) and "name" in body:
                found = f"unknown key 'name' in service {name}"
                raise document.bad((*path, "services", name, "name"), found, "the service's key is its name")
        bodies = {n: {"name": n, **b} if isinstance(b, dict) else b for n, b in block["services"].items()}
        return {**block, "services": bodies}

    data: dict[str, Any] = named(document.data, ())
    return {**data, "control": named(data["control"], ("control",))} if "control" in data else data


def _check_services(head: _FleetFile, document: Document) -> None:
    _check_template(head.role or "", ("account", "partition"), document, ("role",))
    groups: list[tuple[Path, dict[Name, Service]]] = [(("services",), head.services)]
    if head.control:
        for name in head.control.services.keys() & head.services.keys():
            found = f"two services of one name: {name} (also {document.where('services', name)})"
            raise document.bad(("control", "services", name), found, "a name of its own")
        groups.append((("control", "services"), head.control.services))
    for path, services in groups:
        for service in services.values():
            _check_service(service, services, document, (*path, service.name))
            placeholders = PLACEHOLDERS if path[0] == "control" else (*PLACEHOLDERS, "region")
            _check_texts(service, placeholders, document, (*path, service.name))
        edges = {
            s.name: {n: document.where(*path, s.name, "needs", i) for i, n in enumerate(s.needs)}
            for s in services.values()
        }
        if cycle := name_cycle(edges, "needs"):
            first = cycle.split(" ", 1)[0]
            raise document.bad((*path, first, "needs"), f"a cycle: {cycle}", "needs that lead to an end")
        hosts = {s.host for s in services.values() if s.host}
        for service in services.values():
            for index, host in enumerate(service.fronts):
                if host not in hosts:
                    found = f"{service.name} fronts {host}, which is no service's host"
                    where = (*path, service.name, "fronts", index)
                    raise document.bad(where, found, did_you_mean(host, hosts, "hosts"))
        _check_unique(
            ((s.host, document.where(*path, s.name, "host")) for s in services.values() if s.host),
            "host",
            "services",
        )


def _check_service(service: Service, known: Mapping[str, Service], document: Document, path: Path) -> None:
    _check_folder(service.program, document, (*path, "program"))
    for key, folders in (("include", service.include), ("code", service.code)):
        for index, folder in enumerate(folders):
            _check_folder(folder, document, (*path, key, index))
    for index, need in enumerate(service.needs):
        if need not in known:
            found = f"{service.name} needs {need}, which is not a service"
            raise document.bad((*path, "needs", index), found, did_you_mean(need, known, "services"))
    if service.one_way and not service.stateful:
        found = f"{service.name} is declared one_way, but keeps nothing that could be lost"
        raise document.bad((*path, "one_way"), found, "stateful: true beside it, or no one_way")
    if isinstance(service.proof, HttpProof) and not service.code:
        found = f"{service.name} proves itself by the digest of its code, but declares no code"
        raise document.bad(
            (*path, "proof"), found, "code: […] with the folders that run, or proof: {parameter: …}"
        )


def _check_texts(service: Service, known: tuple[str, ...], document: Document, path: Path) -> None:
    """The texts of signals and proof ask for nothing but what every deployment of the service has."""
    parts: list[tuple[Path, Frozen]] = [
        (("signals", name), signal) for name, signal in service.signals.items()
    ]
    if service.proof is not None:
        parts.append((("proof",), service.proof))
    for key, part in parts:
        for text in _texts(part.model_dump()):
            _check_template(text, known, document, (*path, *key))


def _check_folder(folder: str, document: Document, path: Path) -> None:
    if not folder or folder.startswith("/") or ".." in folder.split("/") or "\\" in folder:
        raise document.bad(path, f"the path {folder!r}", "a path inside the project, relative, without '..'")


def _check_template(text: str, known: tuple[str, ...], document: Document, path: Path) -> None:
    """Exactly what `health.template.expand` can fill in later: a name alone, without attribute, index or format."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise document.bad(path, f"the text {text!r}: {error}", "{placeholder} in pairs of braces") from None
    for _, field, spec, conversion in parts:
        if field is None:
            continue
        output = OUTPUT in known and re.fullmatch(r"outputs\[[^\[\]]+\]", field)
        if spec or conversion or not (output or field in known):
            shown = field + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            found = f"unknown placeholder {{{shown}}} in {text!r}"
            raise document.bad(path, found, did_you_mean(field, known, "placeholders"))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for child in value.values():
            yield from _texts(child)


def _check_regions(regions: list[tuple[_RegionFile, Document]]) -> None:
    _check_unique(((r.region, d.where("region")) for r, d in regions), "name", "regions")
    _check_unique(((r.endpoint, d.where("endpoint")) for r, d in regions), "endpoint", "regions")


def _check_identities(cells: list[_Placed]) -> None:
    for placed in cells:
        if placed.cell.aws_region not in REGIONS:
            found = f"AWS has no region {placed.cell.aws_region!r}"
            raise placed.bad("aws_region", found, did_you_mean(placed.cell.aws_region, REGIONS, "regions"))
    _check_unique(((p.cell.name, p.where("name")) for p in cells), "name", "cells")
    places = ((f"{p.cell.account} in {p.cell.aws_region}", p.where("account")) for p in cells)
    _check_unique(places, "account and AWS region", "cells")


def _check_roles(fleet: Fleet, cells: list[_Placed], shared: Document) -> None:
    """A role is of its cell's own partition: none can be assumed from another."""
    for placed in cells:
        role, partition = fleet.role_arn(placed.cell), placed.cell.partition
        if role is None or not role.startswith("arn:") or role.split(":")[1] == partition:
            continue
        found = f"{placed.cell.name} is in the partition {partition}, its role is {role}"
        right = (
            "arn:{partition}:iam::{account}:role/…" if placed.cell.role is None else f"arn:{partition}:iam::…"
        )
        where = placed.where("role") if placed.cell.role else shared.where("role")
        raise BadInput(where, found, right)


def _check_unique(items: Iterable[tuple[str, str]], what: str, of: str) -> None:
    seen: dict[str, str] = {}
    for value, where in items:
        if value in seen:
            raise BadInput(where, f"two {of} of one {what}: {value} (also {seen[value]})", f"another {what}")
        seen[value] = where


def _check_partners(cells: list[_Placed], known: Mapping[str, _Placed]) -> None:
    for placed in cells:
        cell, partner = placed.cell, placed.cell.failover
        if partner is None:
            continue
        if partner == cell.name:
            raise placed.bad("failover", f"{cell.name} is its own failover partner", "another cell")
        if partner not in known:
            found = f"{cell.name} fails over to {partner}, which is not a cell"
            raise placed.bad("failover", found, did_you_mean(partner, known, "cells"))
        other = known[partner]
        if other.cell.failover != cell.name:
            names = other.cell.failover or "nobody"
            found = (
                f"{cell.name} fails over to {partner}, but {partner} ({other.where('failover')}) to {names}"
            )
            raise placed.bad(
                "failover", found, f"failover: {cell.name} in {partner} too: partners name each other"
            )


def _check_parents(cells: list[_Placed], known: Mapping[str, _Placed]) -> None:
    children = [p for p in cells if p.cell.parent is not None]
    for placed in children:
        parent = str(placed.cell.parent)
        if parent not in known:
            found = f"{placed.cell.name} is nested under {parent}, which is not a cell"
            raise placed.bad("parent", found, did_you_mean(parent, known, "cells"))
    edges = {p.cell.name: {str(p.cell.parent): p.where("parent")} for p in children}
    if cycle := name_cycle(edges, "is under"):
        first = known[cycle.split(" ", 1)[0]]
        raise first.bad("parent", f"a cycle: {cycle}", "parents that lead to a cell without one")
