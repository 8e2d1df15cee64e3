"""Print what the program of a cell's services asks for, as JSON: `python -m tests.audit.collecting CELL [REGION]`.

REGION puts the cell into another AWS region.

A process of its own: pulumi's mocks, loops and warnings are its whole process's.
"""

from __future__ import annotations

import json
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import MockCallArgs, MockResourceArgs, Mocks

from cellwave.cell import CellContext
from cellwave.fleet.parse import parse_fleet
from cellwave.project import find_project

COMPUTED = ("arn", "invokeArn", "executionArn", "apiEndpoint", "url")


class Collected(Mocks):
    """Every resource is taken as made: type, name and inputs."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str, Any]] = []

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Take note."""
        self.made.append((args.typ, args.name, args.inputs))
        return f"{args.name}-id", {**dict.fromkeys(COMPUTED, f"arn:aws:test:::{args.name}"), **args.inputs}

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        """The program calls nothing."""
        raise AssertionError(args.token)


def refuse(*_: object) -> None:
    """Nobody is asked anything."""
    raise AssertionError("a program of a cell asks the network")


def main(name: str, region: str = "") -> None:
    """Run the programs of a cell's services, one after the other."""
    project = find_project(Path(__file__).parent)
    fleet = parse_fleet(project.config_files())
    cell = fleet.cell(name)
    cell = cell.model_copy(update={"aws_region": region or cell.aws_region})
    assert fleet.control is not None
    # No role of another partition can be assumed: each has a control plane of its own.
    control = fleet.control.model_copy(update={"aws_region": region or fleet.control.aws_region})
    fleet = fleet.model_copy(update={"control": control})
    setattr(socket.socket, "connect", refuse)  # noqa: B010 (what is deployed follows from the release alone)
    collected = Collected()
    for service in fleet.services_of(name):
        pulumi.runtime.set_mocks(collected, project="audit", stack=f"{name}.{service.name}", preview=False)
        ctx = CellContext(fleet, cell, service, project.root, "release")
        deploy = import_module(f"audit.stacks.{service.name}").deploy
        pulumi.runtime.test(lambda deploy=deploy, ctx=ctx: deploy(ctx))()  # type: ignore[no-untyped-call]
    print(json.dumps(collected.made, default=repr))


if __name__ == "__main__":
    main(*sys.argv[1:])
