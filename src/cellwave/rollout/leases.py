"""Whose a cell is, to change it: a rollout's, or a command line's as long as its process lives."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from cellwave.environment import host_name
from cellwave.errors import Leased
from cellwave.processes import alive, this, written
from cellwave.rollout.tables import LEASES

LEASE_LOCK = 7264  # of PostgreSQL; (7263 is the journal's)
UP = "up:"  # how the owner of a lease begins that is a process (`up` was one, as `down` is)


def take_lease(db: sa.Connection, cells: Sequence[str], owner: str, partners: Mapping[str, str] = {}) -> None:
    """Take the cells for an owner, all or none; Leased when another has one, or has the failover partner of one
    (`partners` by cell): the two are never in flight together."""
    if db.dialect.name == "postgresql":
        # Of two that want a cell, the second is to see that the first has it.
        db.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LEASE_LOCK})
    query = sa.select(LEASES).where(LEASES.c.cell.in_({*cells, *partners.values()}))
    held = {row.cell: row.owner for row in db.execute(query)}
    refuse_taken({cell: other for cell, other in held.items() if other != owner}, cells, partners)
    mine = [cell for cell in cells if held.get(cell) != owner]
    db.execute(sa.delete(LEASES).where(LEASES.c.cell.in_(mine)))  # those of the dead
    if mine:
        now = time.time()
        db.execute(sa.insert(LEASES), [{"cell": cell, "owner": owner, "since": now} for cell in mine])


def refuse_taken(leases: Mapping[str, str], cells: Collection[str], partners: Mapping[str, str] = {}) -> None:
    """Leased when one of the cells, or a failover partner of one, has an owner (`leases`: owner by cell) that is not a
    process of this host that has ended."""
    beside = {
        partners[cell]: f"{cell}'s failover partner {partners[cell]}" for cell in cells if cell in partners
    }
    wanted = beside | {cell: cell for cell in cells}
    taken = {
        told: leases[cell] for cell, told in wanted.items() if cell in leases and not is_dead(leases[cell])
    }
    if taken:
        names = ", ".join(f"{told} by {owner}" for told, owner in taken.items())
        raise Leased(f"cells are leased to another: {names}", hint="wait for its end, or roll it back")


def commands_at_work(leases: Mapping[str, str]) -> dict[str, str]:
    """The cells that a command line (`down`) is changing at this moment, and which; `leases` as in Records."""
    return {cell: owner for cell, owner in leases.items() if owner.startswith(UP) and not is_dead(owner)}


def commands_elsewhere(leases: Mapping[str, str], cells: Collection[str]) -> bool:
    """Whether a command of another host has one of the cells: nobody here knows whether it lives, but for a worker that
    listens for it."""
    owners = [leases[cell] for cell in cells if cell in leases]
    return any(owner.startswith(UP) and owner.split(":")[-3] != host_name() for owner in owners)


def process_owner(actor: str) -> str:
    """A lease's owner that is this process. The lease is void once the process is gone, however it ended: on its host
    at once, elsewhere when it was not heard of for a while (beats.py)."""
    return f"{UP}{actor}:{host_name()}:{this(os.getpid()).text}"


def is_dead(owner: str) -> bool:
    """Whether a lease's owner is a process of this host that has ended."""
    if not owner.startswith(UP):
        return False
    *_, host, pid, start = owner.split(":")
    # Of another host's processes nothing is known from here.
    return host == host_name() and not alive(written(f"{pid}:{start}"))
