"""What of the fleet reaches one deployment's program: its own part, unless its service includes all of cells/. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from cellwave.fleet.files import FOLDER
from cellwave.fleet.model import Cell, Fleet, Region, Service

VIEW = ".cellwave/view.json"  # beside a view's files: its stack, its digest, and its part of the fleet


def sees_fleet(service: Service) -> bool:
    """Whether the service's program sees the whole fleet: it includes cells/, or a folder around it."""
    return is_below(FOLDER, service.include)


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Whether a path (relative, posix) is one of these files and folders, or lies below one."""
    names = {posixpath.normpath(folder) for folder in folders}
    if "." in names:
        return True
    parts = path.split("/")
    return any("/".join(parts[:length]) in names for length in range(1, len(parts) + 1))


def part_of(fleet: Fleet, cell: Cell, region: Region | None, service: Service) -> Fleet:
    """The fleet as if there were this deployment alone, with the control plane's cell; without what only cellwave reads
    of a service: its needs, signals and proof. Its isolation stays: who changes that is to have the stack looked at.
    """
    alone: dict[str, object] = {"needs": (), "signals": {}, "proof": None, "one_way": None, "fronts": ()}
    own = (service.model_copy(update=alone),)
    return Fleet(
        role=fleet.role,
        control=fleet.control,
        control_services=() if region else own,
        services=own if region else (),
        regions=(region.model_copy(update={"cells": (cell,)}),) if region else (),
    )
