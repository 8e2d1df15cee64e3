"""A release's plan."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from cellwave.errors import Unavailable
from cellwave.fleet.model import Fleet
from cellwave.programs.check import check_programs_here
from cellwave.release import Release
from cellwave.releases.sources import sources_of
from cellwave.releases.store import versions_of
from cellwave.usecases.surroundings import Surroundings
from cellwave.waves.model import Plan
from cellwave.waves.planner import Inputs, make_plan, plan_cell

if TYPE_CHECKING:
    from cellwave.rollout.records import StackRow


def plan_for(
    around: Surroundings,
    release: Release | None,
    cells: Collection[str] | None = None,
    *,
    everything: bool = False,
) -> Plan:
    """The plan of a release, or of the working tree as if it were one, for all cells or these. What would not change is
    kept, unless `everything` is to run."""
    fleet, strategy = around.configuration(release.digest if release else None)
    source = around.store.path(release.digest) if release else around.project.root
    check_programs_here(around.project, source, (*fleet.control_services, *fleet.services))
    wanted = release or Release(version="(working tree)", files={}, code={})
    stacks = around.stacks() if release else {}
    running = {name: row.release for name, row in stacks.items()}
    unproven = _unproven(around, wanted, stacks)
    names = [cell.name for cell in fleet.cells] if cells is None else cells
    inputs = _inputs(around, release, names, stacks, sure=set() if everything else stacks.keys() - unproven)
    return make_plan(fleet, strategy, wanted, running, cells, unproven=unproven, inputs=inputs)


def plan_up(around: Surroundings, release: Release, cell: str, *, everything: bool = False) -> Plan:
    """The plan that brings a release to one whole cell, which its fleet has, at a person's word; `everything` as for
    `plan_for`. BadInput when one of the cell's programs can't be run here."""
    fleet, _ = around.configuration(release.digest)
    check_programs_here(around.project, around.store.path(release.digest), fleet.services_of(cell))
    stacks = around.stacks()
    running = {name: row.release for name, row in stacks.items()}
    unproven = _unproven(around, release, stacks)
    inputs = _inputs(around, release, [cell], stacks, sure=set() if everything else stacks.keys() - unproven)
    return plan_cell(fleet, release, cell, running, unproven=unproven, inputs=inputs)


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


def _inputs(
    around: Surroundings,
    release: Release | None,
    cells: Collection[str],
    stacks: Mapping[str, StackRow],
    sure: Collection[str],
) -> dict[str, Inputs]:
    """What each stack of these cells is to be made of, and was made of, and why it is kept. Kept is what is known to
    run and is in `sure`, when it was made of the same, nobody has put anything else there since, and all that it needs
    is kept too."""
    before = {name: row.inputs for name, row in stacks.items()}
    now: dict[str, str] = {}
    if release and release.views:
        now = sources_of(around.store.path(release.digest)).digests({*cells})
    same = {
        name: row
        for name, row in stacks.items()
        if name in sure and row.known and row.inputs and row.inputs == now.get(name)
    }
    kept = _still_there(around, release, same) if release and same else {}
    if release and kept:
        kept = _on_needs_kept(sources_of(around.store.path(release.digest)).fleet, stacks, kept)
    return {
        name: Inputs(now.get(name, ""), before.get(name, ""), kept.get(name, ""))
        for name in (*now, *(before.keys() - now))
    }


def _still_there(around: Surroundings, release: Release, rows: Mapping[str, StackRow]) -> dict[str, str]:
    """Why each of these stacks is kept, without those of which the state backend says anything but what was proven."""
    from cellwave.usecases.drift import Standing, drift, observe
    from cellwave.usecases.fleet_status import projects_of

    try:
        stacks = around.backend.stacks()
    except Unavailable as missing:
        around.tell(f"nothing is kept as it is, since what really runs is not known: {missing.message}")
        return {}
    folder = around.store.path(release.digest)
    projects = projects_of(folder, sources_of(folder).fleet)
    seen = {stack.name: stack for stack in stacks if stack.project in projects}
    releases, kept = around.store.list(), {}
    for name, row in rows.items():
        version = next(iter(versions_of(row.release or "", releases)), (row.release or "")[:12])
        expected = Standing(release=row.release or "", name=version, since=row.at)
        if not drift(expected, observe(seen.get(name), expected, {}), None, in_fleet=True):
            _, _, digest = row.inputs.partition(":")
            kept[name] = f"inputs unchanged since {version}, sha256:{digest[:12]}"
    return kept


def _on_needs_kept(fleet: Fleet, rows: Mapping[str, StackRow], kept: Mapping[str, str]) -> dict[str, str]:
    """Those whose needs are kept too, and were put there before them: an engine that runs for one of these, or has
    since (on a way back the needed comes last), may give it other outputs than were read."""
    needs = {service.name: service.needs for service in (*fleet.control_services, *fleet.services)}

    def stays(stack: str) -> bool:
        cell, _, service = stack.rpartition(".")
        needed = [f"{cell}.{need}" for need in needs[service]]
        return stack in kept and all(stays(need) and rows[need].at <= rows[stack].at for need in needed)

    return {stack: why for stack, why in kept.items() if stays(stack)}
