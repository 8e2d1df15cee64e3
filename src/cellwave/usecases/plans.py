"""A release's plan."""

from __future__ import annotations

from collections.abc import Collection

from cellwave.programs.check import check_programs_here
from cellwave.release import Release
from cellwave.usecases.surroundings import Surroundings
from cellwave.waves.model import Plan


def plan_for(around: Surroundings, release: Release | None, cells: Collection[str] | None = None) -> Plan:
    """The plan of a release, or of the working tree as if it were one, for all cells or these."""
    from cellwave.waves.planner import make_plan

    fleet, strategy = around.configuration(release.digest if release else None)
    source = around.store.path(release.digest) if release else around.project.root
    check_programs_here(around.project, source, (*fleet.control_services, *fleet.services))
    running = around.running() if release else {}
    return make_plan(
        fleet, strategy, release or Release(version="(working tree)", files={}, code={}), running, cells
    )
