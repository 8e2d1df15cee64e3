"""The stack's name says everything: `<cell>.<service>`, found in cells/."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pulumi

from cellwave.cell.lease import refuse_leased
from cellwave.errors import CellwaveError
from cellwave.fleet.files import FOLDER, config_texts
from cellwave.fleet.model import Cell, Fleet, Service
from cellwave.fleet.parse import parse_fleet
from cellwave.fleet.part import VIEW, part_of, sees_fleet
from cellwave.frozen import digest_of

WORKTREE = "worktree"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class CellContext:
    """Which cell and service a stack is.

    `known` is what of the fleet the program sees: its cell, that cell's product region, and the control plane's cell;
    all of it when the service includes cells/. `source` is the folder that holds its files: its view of a release, or
    the working tree. `inputs` is the digest of all that it is made of, of the whole release where that has no views, or
    "worktree". `made` collects the resources inside the boundary.
    """

    known: Fleet
    cell: Cell
    service: Service
    source: Path
    inputs: str
    made: list[pulumi.Resource] = field(default_factory=list, compare=False, repr=False)

    @property
    def stack(self) -> str:
        """`<cell>.<service>`."""
        return f"{self.cell.name}.{self.service.name}"

    @property
    def fleet(self) -> Fleet:
        """All cells; RunError unless the service includes cells/, for a change of any cell is then one of its own."""
        if not sees_fleet(self.service):
            raise pulumi.RunError(
                f"service {self.service.name} does not include {FOLDER}, so its program sees no cell but its own: add "
                f"{FOLDER} to its `include` in {FOLDER}/fleet.yaml, or use what is known of its own (ctx.known)"
            )
        return self.known

    @property
    def sandbox(self) -> bool:
        """Whether the emulated AWS is deployed to, where everything is meant to be thrown away."""
        return os.environ.get("CELLWAVE_SANDBOX") == "1"

    def name(self, suffix: str) -> str:
        """A physical name of the cell: `<cell>-<suffix>`."""
        return f"{self.cell.name}-{suffix}"

    def bucket(self, kind: str) -> str:
        """A bucket's name, unique in the world: `<cell>-<account>-<kind>`."""
        return f"{self.cell.name}-{self.cell.account}-{kind}"

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something of this cell's account and region."""
        return f"arn:{self.cell.partition}:{service}:{self.cell.aws_region}:{self.cell.account}:{resource}"


def context() -> CellContext:
    """The running stack's context; RunError with the known stacks when its name is not of the fleet.

    RunError too when the sandbox's settings would reach real accounts, or when somebody else is changing the cell.
    """
    _refuse_real_accounts_unprotected()
    source = _source(Path(sys.argv[0]).resolve())
    stack, view = pulumi.get_stack(), _view(source)
    fleet = Fleet.model_validate(view["fleet"]) if view else _fleet(source)
    if stack not in fleet.stacks:
        there = "\n".join(f"  {name}" for name in fleet.stacks)
        raise pulumi.RunError(
            f"stack {stack!r} is no <cell>.<service> of {source / FOLDER}; there are:\n{there}"
        )
    name, _, of_service = stack.rpartition(".")
    cell, service = fleet.cell(name), fleet.service(name, of_service)
    own = part_of(fleet, cell, fleet.region_of(name), service)
    refuse_leased(name, source)
    known = _fleet(source) if sees_fleet(service) else own
    return CellContext(known, cell, service, source, view["digest"] if view else _release(source))


def _view(source: Path) -> dict[str, Any]:
    """What cellwave has put beside a view's files; {} where the program runs in no view."""
    file = source / VIEW
    return dict(json.loads(file.read_text())) if file.is_file() else {}


def _fleet(source: Path) -> Fleet:
    below = [path.relative_to(source).as_posix() for path in (source / FOLDER).rglob("*")]
    try:
        return parse_fleet(config_texts(below, lambda name: (source / name).read_bytes()))
    except CellwaveError as error:
        raise pulumi.RunError(f"{error.message}\n{error.hint}".strip()) from None


def _refuse_real_accounts_unprotected() -> None:
    """In the sandbox nothing is kept from being deleted. A shell that left it half may still say that it is there."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if os.environ.get("CELLWAVE_SANDBOX") == "1" and urlsplit(endpoint).hostname not in LOOPBACK:
        raise pulumi.RunError(
            f"CELLWAVE_SANDBOX=1 takes all protection away, but AWS_ENDPOINT_URL ({endpoint or 'not set'}) is no "
            "emulator on this machine: unset CELLWAVE_SANDBOX for real accounts"
        )


def _source(program: Path) -> Path:
    for folder in program.parents:
        if (folder / VIEW).is_file() or (folder / FOLDER).is_dir():
            return folder
    raise pulumi.RunError(f"no cells/ folder above the program {program}")


def _release(source: Path) -> str:
    """The digest of the release whose folder this is: of its content, as its manifest lists it."""
    try:
        manifest = json.loads((source / "release.json").read_text())
    except FileNotFoundError:
        return WORKTREE
    content = {"files": manifest["files"], "code": manifest["code"]}
    content |= {"executable": sorted(manifest["executable"])} if manifest.get("executable") else {}
    content |= {"views": True} if manifest.get("views") else {}
    return digest_of(content)
