"""Whose a cell is."""

from __future__ import annotations

from cellwave.fleet.select import require_cell
from cellwave.frozen import Frozen
from cellwave.rollout.identity import require_known, require_same
from cellwave.rollout.leases import UP
from cellwave.rollout.records import recorded
from cellwave.usecases.surroundings import Surroundings


class Lease(Frozen):
    """Who is changing a cell, in words, since when (epoch seconds), and how to get it from them."""

    cell: str
    owner: str
    since: float
    hint: str


def lease_of(around: Surroundings, cell: str) -> Lease | None:
    """The lease of a cell; None for a free one, or where nothing is recorded. BadInput when the fleet has no such cell,
    Unavailable when what is recorded is not what this project has worked with."""
    home, url = around.project.home, around.project.database_url
    require_known(home, url)
    if records := recorded(url):
        require_same(home, records)
    held = records.lease_of(cell) if records else None
    if records is None or held is None:
        require_cell(around.configuration()[0], cell)
        return None
    owner, since = held
    if owner.startswith(UP):
        *_, host, pid, _ = owner.split(":")
        actor = owner.removeprefix(UP).partition(f":{host}:{pid}:")[0]
        whose = f"a command of {actor}'s on {host} (pid {pid})"
        return Lease(cell=cell, owner=whose, since=since, hint=f"wait for its end, or ask {actor} to end it")
    row = records.rollout(owner)
    actor = row.actor if row else "somebody"
    hint = (
        f"wait for its end (`cellwave rollout status {owner}`), or ask {actor} to end it "
        f"(`cellwave rollout rollback {owner}`)"
    )
    return Lease(cell=cell, owner=f"rollout {owner} of {actor}'s", since=since, hint=hint)
