"""Customers for every cell, their keys made by the product's own tool, and the process that is their traffic."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from cellwave.errors import CellwaveError
from cellwave.fleet.model import Cell, Fleet, Region
from cellwave.processes import Proc, spawn, stop
from cellwave.project import Project
from cellwave.sandbox.edge.homing import home_cell
from cellwave.sandbox.traffic.model import Config, Customer

TENANTS = ("north", "south")
RATE = 18.0
END_WITHIN_S = 120.0  # an action has two requests, and a slow service takes its time for each


def invent(fleet: Fleet) -> list[tuple[str, Region]]:
    """An application for each cell: a name whose home that cell is."""
    return [(_named(cell, region), region) for region in fleet.regions for cell in region.cells]


def _named(cell: Cell, region: Region) -> str:
    numbers = iter(range(1, 1000))
    return next(
        name for n in numbers if home_cell(name := f"{region.name}-shop-{n}", region.cells).name == cell.name
    )


def make_keys(project: Project, environment: Mapping[str, str], fleet: Fleet, edge_url: str) -> Config:
    """Make every customer's keys in the control plane; the traffic's configuration."""
    customers = []
    for application, region in invent(fleet):
        names = [application, *(f"{application}/{tenant}" for tenant in TENANTS)]
        argv = [sys.executable, "-m", "audit.admin", "key", *names]
        run = subprocess.run(
            argv, env=_with_source(project, environment), capture_output=True, text=True, check=False
        )
        if run.returncode:
            raise CellwaveError(f"no keys for {application}: {run.stderr.strip()}")
        keys = [json.loads(line) for line in run.stdout.splitlines()]
        customers.append(
            Customer(
                application=application,
                region=region.name,
                events_host=f"events.{region.endpoint}",
                query_host=f"query.{region.endpoint}",
                key=next(key["key"] for key in keys if not key["tenantId"]),
                tenants={key["tenantId"]: key["key"] for key in keys if key["tenantId"]},
            )
        )
    return Config(edge_url=edge_url, rate=RATE, customers=tuple(customers))


class Traffic:
    """The traffic process: it survives nobody, not even a killed demo (the next one ends it)."""

    def __init__(
        self, project: Project, environment: Mapping[str, str], config: Config, folder: Path
    ) -> None:
        self.ledger = folder / "ledger.jsonl"
        self._pid = folder / "traffic.json"
        settings = folder / "traffic-config.json"
        with os.fdopen(os.open(settings, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(config.model_dump_json())
        argv = [
            sys.executable,
            "-m",
            "cellwave.sandbox.traffic",
            "--config",
            str(settings),
            "--ledger",
            str(self.ledger),
        ]
        self._process = spawn(argv, _with_source(project, environment), folder / "traffic.log")
        self._pid.write_text(self._process.model_dump_json())

    def end(self) -> None:
        """Let what is in flight finish, and stop."""
        stop(self._process, grace_s=END_WITHIN_S)
        self._pid.unlink(missing_ok=True)


def end_leftover(folder: Path) -> None:
    """Stop the traffic of a demo that was killed."""
    file = folder / "traffic.json"
    if file.exists():
        stop(Proc.model_validate_json(file.read_text()))
        file.unlink()


def _with_source(project: Project, environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, "PYTHONPATH": str(project.root / "src")}
