"""What ended rollouts leave behind, and how much of it is kept. Journal, rollouts and what runs are no litter."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

import sqlalchemy as sa
from dbos import DBOSClient

from cellwave.deploy.attempt import attempts_in
from cellwave.frozen import Frozen
from cellwave.programs.environments import sweep
from cellwave.rollout.database import existing
from cellwave.rollout.records import Records

OWN = ("up", "down")  # attempts of a command, not of a rollout (`up` was one in earlier versions)
ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
AT_ONCE = 500  # a database takes so many values in one statement


class Collected(Frozen):
    """What was removed: folders of attempts, their bytes, programs' environments that nobody used for long, rows of our
    own tables, workflows of DBOS."""

    attempts: int
    bytes: int
    environments: int
    rows: int
    workflows: int


def collect(home: Path, records: Records, url: str, keep: int) -> Collected:
    """Remove what only ended rollouts needed, but for the newest `keep` (at least 1). Safe while a worker runs."""
    over = records.over(keep)
    folders = dict(attempts_in(home))
    names = set(over.values())
    dead = litter(
        {name: (attempt.number, attempt.touched_at) for name, attempt in folders.items()}, names, keep
    )
    sizes = [size for name in dead if (size := folders[name].remove()) is not None]
    return Collected(
        attempts=len(sizes),
        bytes=sum(sizes),
        environments=sweep(home, time.time()),
        rows=records.sweep(over),
        workflows=_forget(records, url, names),
    )


def litter(attempts: Mapping[str, tuple[int, float]], over: Collection[str], keep: int) -> list[str]:
    """The attempts (name: its number, and when it was last touched) that nobody will read again. Pure.

    `over` is what those of ended rollouts begin with. One of an unknown rollout is not this database's: it stays.
    """
    own: dict[str, list[str]] = defaultdict(list)
    for name in sorted(attempts, key=attempts.__getitem__, reverse=True):
        owner, _, rest = name.partition(":")
        if owner in OWN:
            own[rest.split(":")[0]].append(name)
    return [name for name in attempts if name.split(":")[0] in over] + [
        name for names in own.values() for name in names[keep:]
    ]


def _forget(records: Records, url: str, over: Collection[str]) -> int:
    """Delete the workflows of ended rollouts' effects; how many. One that still ends, stays."""
    schema = None if records.engine.dialect.name == "sqlite" else "dbos"
    if not over or not sa.inspect(records.engine).has_table("workflow_status", schema=schema):
        return 0
    client = DBOSClient(system_database_url=existing(url))
    try:
        found = client.list_workflows(status=ENDED, load_input=False, load_output=False)
        names = [flow.workflow_id for flow in found if flow.workflow_id.split(":")[0] in over]
        for at in range(0, len(names), AT_ONCE):
            client.delete_workflows(names[at : at + AT_ONCE])
    finally:
        client.destroy()
    return len(names)
