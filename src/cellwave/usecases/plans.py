"""A release's plan."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from cellwave.programs.check import check_programs_here
from cellwave.release import Release
from cellwave.rollout.records import StackRow
from cellwave.usecases.surroundings import Surroundings
from cellwave.waves.model import Plan


def plan_for(around: Surroundings, release: Release | None, cells: Collection[str] | None = None) -> Plan:
    """The plan of a release, or of the working tree as if it were one, for all cells or these."""
    from cellwave.waves.planner import make_plan

    fleet, strategy = around.configuration(release.digest if release else None)
    source = around.store.path(release.digest) if release else around.project.root
    check_programs_here(around.project, source, (*fleet.control_services, *fleet.services))
    wanted = release or Release(version="(working tree)", files={}, code={})
    stacks = around.stacks() if release else {}
    running = {name: row.release for name, row in stacks.items()}
    return make_plan(fleet, strategy, wanted, running, cells, unproven=_unproven(around, wanted, stacks))


def plan_up(around: Surroundings, release: Release, cell: str) -> Plan:
    """The plan that brings a release to one whole cell, which its fleet has, at a person's word. BadInput when one of
    the cell's programs can't be run here."""
    from cellwave.waves.planner import plan_cell

    fleet, _ = around.configuration(release.digest)
    check_programs_here(around.project, around.store.path(release.digest), fleet.services_of(cell))
    stacks = around.stacks()
    running = {name: row.release for name, row in stacks.items()}
    return plan_cell(fleet, release, cell, running, unproven=_unproven(around, release, stacks))


def _unproven(around: Surroundings, wanted: Release, stacks: Mapping[str, StackRow]) -> dict[str, str]:
    """The stacks that no way back could bring to anything good, and why: what stands there was never proven, or is
    held. (What is rolled out anew where it runs needs no way back.)"""
    others = {row.release for row in stacks.values() if row.release and row.release != wanted.digest}
    held = {digest: hold for digest in others if (hold := around.store.held(digest))}
    found = {}
    for name, row in stacks.items():
        if row.release is None:
            found[name] = "something was tried there, and nothing was ever proven"
        elif row.release in held:
            found[name] = f"{row.release[:12]}, which ran there, is held: {held[row.release].reason}"
    return found
