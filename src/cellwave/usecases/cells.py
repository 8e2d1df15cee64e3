"""What each cell runs."""

from __future__ import annotations

from cellwave.frozen import Frozen
from cellwave.releases.store import ReleaseStore, versions_of
from cellwave.usecases.surroundings import Surroundings


class CellRuns(Frozen):
    """A cell and the release that each of its services runs (None: nothing is recorded), as people call it."""

    cell: str
    region: str | None
    account: str
    aws_region: str
    weight: float
    services: dict[str, str | None]
    leased_to: str | None


def cells(around: Surroundings) -> list[CellRuns]:
    """Every cell of the working tree's fleet."""
    fleet, _ = around.configuration()
    names = names_of_releases(around.store)
    running, leases = around.stacks(), around.records.leases()
    found = []
    for cell in fleet.every_cell:
        region = fleet.region_of(cell.name)
        services = {}
        for service in fleet.services_of(cell.name):
            stack = running.get(f"{cell.name}.{service.name}")
            services[service.name] = names.get(stack.release, stack.release[:12]) if stack else None
        found.append(
            CellRuns(
                cell=cell.name,
                region=region.name if region else None,
                account=cell.account,
                aws_region=cell.aws_region,
                weight=cell.weight,
                services=services,
                leased_to=leases.get(cell.name),
            )
        )
    return found


def names_of_releases(store: ReleaseStore) -> dict[str, str]:
    """What people call each release, by digest: all its versions, and whether it is held."""
    releases = store.list()
    given = [release for release in releases if release.version != release.tree_name]
    return {
        digest: " = ".join(versions_of(digest, given) or versions_of(digest, releases))
        + (" (held)" if store.held(digest) else "")
        for digest in {release.digest for release in releases}
    }
