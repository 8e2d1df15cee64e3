"""What each stack of the fleet should run, what it runs, and how the two differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from cellwave.deploy.backend import WORKTREE, BackendStack
from cellwave.errors import CellwaveError, Unavailable
from cellwave.fleet.model import Fleet, Service
from cellwave.frozen import Frozen
from cellwave.health.http import observe_digest
from cellwave.health.model import Unreadable
from cellwave.health.ports import Scope
from cellwave.programs.settings import project_of
from cellwave.release import Release
from cellwave.releases.code import expected_digest
from cellwave.releases.store import versions_of
from cellwave.rollout.records import StackRow
from cellwave.usecases.drift import Observed, Standing, drift, observe
from cellwave.usecases.surroundings import Surroundings

PROBES = 16  # that ask at once
UNPROVEN = "something was tried there that no proof has ended yet"


class StackStatus(Frozen):
    """A stack: the release that was last proven there (None: none), what the state backend says that it runs (None:
    nothing), and how they differ in words ("": they don't).

    `answers` is what it said of itself when it was asked (None: it was not), `region` the product region (None: the
    control plane, or none any more), `leased_to` who is changing its cell.
    """

    stack: str
    cell: str
    service: str
    region: str | None
    in_fleet: bool
    expected: Standing | None
    observed: Standing | None
    answers: str | None
    drift: str
    leased_to: str | None


def fleet_status(around: Surroundings, *, probe: bool = False) -> list[StackStatus]:
    """Every stack of the working tree's fleet in its order, then those that are recorded or live and in it no more.

    With `probe`, every recorded one is asked for what it runs, as its service's proof says. Where the state backend
    can't be asked, a person is told, and what is expected is taken for what is there.
    """
    fleet, _ = around.configuration()
    names = names_of_releases(around)
    rows, leases = around.stacks(), around.records.leases()
    of_releases = _fleets(around, rows)
    seen = _seen(around, fleet, of_releases)
    answers = _answers(around, rows, of_releases, names) if probe else {}
    left = sorted({*rows, *(seen or {})} - set(fleet.stacks))
    return [
        _status(stack, fleet, rows, seen, names=names, answers=answers, leases=leases)
        for stack in (*fleet.stacks, *left)
        if stack in fleet.stacks or stack in rows or (seen or {})[stack].resources
    ]


def names_of_releases(around: Surroundings) -> dict[str, str]:
    """What people call each release, by digest: all its versions, and whether it is held."""
    releases = around.store.list()
    given = [release for release in releases if release.version != release.tree_name]
    return {
        digest: " = ".join(versions_of(digest, given) or versions_of(digest, releases))
        + (" (held)" if around.store.held(digest) else "")
        for digest in {release.digest for release in releases}
    }


def _status(
    stack: str,
    fleet: Fleet,
    rows: Mapping[str, StackRow],
    seen: Mapping[str, BackendStack] | None,
    *,
    names: Mapping[str, str],
    answers: Mapping[str, str],
    leases: Mapping[str, str],
) -> StackStatus:
    cell, _, service = stack.rpartition(".")
    region = fleet.region_of(cell)
    row, in_fleet = rows.get(stack), stack in fleet.stacks
    expected = _expected(row, names)
    observed = Observed(standing=expected) if seen is None else observe(seen.get(stack), expected, names)
    if row and not row.known:
        observed = observed.model_copy(update={"doubts": (*observed.doubts, UNPROVEN)})
    return StackStatus(
        stack=stack,
        cell=cell,
        service=service,
        region=region.name if region else None,
        in_fleet=in_fleet,
        expected=expected,
        observed=observed.standing,
        answers=answers.get(stack),
        drift=drift(expected, observed, answers.get(stack), in_fleet=in_fleet),
        leased_to=leases.get(cell),
    )


def _expected(row: StackRow | None, names: Mapping[str, str]) -> Standing | None:
    if row is None or not row.release:
        return None
    return Standing(release=row.release, name=names.get(row.release, row.release[:12]), since=row.at)


def _seen(
    around: Surroundings, fleet: Fleet, of_releases: Mapping[str, Fleet]
) -> dict[str, BackendStack] | None:
    """The backend's stacks by name, of the projects that this fleet, or what is recorded, deploys; None when it can't
    be asked. Other projects may share the backend."""
    try:
        _ = around.target
    except Unavailable:  # that was told when the records were asked
        return None
    try:
        stacks = around.backend.stacks()
    except Unavailable as missing:
        around.tell(f"what really runs is not known: {missing.message}")
        return None
    today = projects_of(around.project.root, fleet)
    before = set().union(
        *(projects_of(around.store.path(digest), old) for digest, old in of_releases.items())
    )
    # A project that has another name now may have left stacks of today's names.
    known = sorted((s for s in stacks if s.project in today | before), key=lambda s: s.project in today)
    return {stack.name: stack for stack in known}


def _fleets(around: Surroundings, rows: Mapping[str, StackRow]) -> dict[str, Fleet]:
    """The fleets of what is recorded, by the release's digest, as far as the store still has it."""
    found = {}
    for digest in {row.release for row in rows.values() if row.release}:
        with suppress(CellwaveError):
            found[digest] = around.configuration(digest)[0]
    return found


def projects_of(root: Path, fleet: Fleet) -> set[str]:
    """The Pulumi projects of the fleet's programs."""
    found = set()
    for folder in {root / service.program for service in (*fleet.services, *fleet.control_services)}:
        with suppress(OSError, ValueError):  # `plan` says what is wrong with it
            found.add(project_of(folder)["name"])
    return found


def _answers(
    around: Surroundings, rows: Mapping[str, StackRow], fleets: Mapping[str, Fleet], names: Mapping[str, str]
) -> dict[str, str]:
    """What each recorded stack says that it runs, by stack: what people call its release, or why it tells nothing."""
    releases = around.store.list()
    by_digest = {release.digest: release for release in releases}

    def ask(row: StackRow) -> str | None:
        release, fleet = by_digest.get(row.release or ""), fleets.get(row.release or "")
        if release is None or fleet is None:
            return None
        cell, _, name = row.stack.rpartition(".")
        service = fleet.service(cell, name)
        if service.proof is None:
            return None
        found = observe_digest(service.proof, Scope.of(fleet, cell, name, row.outputs))
        if isinstance(found, Unreadable):
            return f"nothing ({found.reason})"
        if found == expected_digest(release, service, row.inputs):
            return names[release.digest]
        return _named(found, service, releases, names)

    with around.exported(), ThreadPoolExecutor(PROBES) as pool:
        said = zip(rows, pool.map(ask, rows.values()), strict=True)
        return {stack: answer for stack, answer in said if answer is not None}


def _named(digest: str, service: Service, releases: Iterable[Release], names: Mapping[str, str]) -> str:
    """What people call the releases whose proof is this digest, or else its beginning."""
    known = dict.fromkeys(
        names[release.digest]
        for release in releases
        if (service.name in release.code or digest in (WORKTREE, release.digest))
        and expected_digest(release, service, "") == digest
    )
    return " = ".join(known) or digest[:12]
