"""`cellwave cells`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cellwave.cli.context import here
from cellwave.cli.show import console, row, table, tell_json
from cellwave.releases.store import versions_of


def cells(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the cells, and the release that each of their services runs.

    Example: [bold]cellwave cells[/]
    """
    context = here()
    fleet, _ = context.configuration()
    releases = context.store.list()
    given = [release for release in releases if release.version != release.tree_name]
    versions = {
        digest: " = ".join(versions_of(digest, given) or versions_of(digest, releases))
        + (" (held)" if context.store.held(digest) else "")
        for digest in {release.digest for release in releases}
    }
    running, leases = context.stacks(), context.records.leases()
    rows: list[dict[str, Any]] = []
    for cell in fleet.every_cell:
        region = fleet.region_of(cell.name)
        services = {}
        for service in fleet.services_of(cell.name):
            stack = running.get(f"{cell.name}.{service.name}")
            services[service.name] = versions.get(stack.release, stack.release[:12]) if stack else None
        rows.append(
            {
                "cell": cell.name,
                "region": region.name if region else None,
                "account": cell.account,
                "aws_region": cell.aws_region,
                "weight": cell.weight,
                "services": services,
                "leased_to": leases.get(cell.name),
            }
        )
    if as_json:
        tell_json(rows)
        return
    shown = table("cell", "region", "AWS region", "account", "runs", "leased to")
    for line in rows:
        runs = line["services"]
        same = len(set(runs.values())) == 1
        text = next(iter(runs.values())) if same else ", ".join(f"{k} {v or '-'}" for k, v in runs.items())
        fields = (line["cell"], line["region"], line["aws_region"], line["account"], text)
        row(shown, *(str(value or "-") for value in fields), str(line["leased_to"] or ""))
    for column in (shown.columns[0], shown.columns[2], shown.columns[3]):
        column.no_wrap = True
    console().print(shown)
