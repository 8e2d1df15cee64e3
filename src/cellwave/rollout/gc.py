"""What ended rollouts leave behind, and how much of it is kept. Journal, rollouts and what runs are no litter."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import sqlalchemy as sa
from dbos import DBOSClient

from cellwave.deploy.attempt import attempts_in
from cellwave.frozen import Frozen
from cellwave.programs.environments import sweep
from cellwave.rollout.database import existing
from cellwave.rollout.records import Records
from cellwave.rollout.tables import ABORTS, INBOX, LEASES, OUTBOX, PROGRESS, READINGS

OWN = (
    "up",
    "down",
    "isolation",
)  # attempts of a command, not of a rollout (`up` was one in earlier versions)
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
        rows=sweep_rows(records, over),
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


def sweep_rows(records: Records, over: Mapping[str, str]) -> int:
    """Delete what only the turns of these ended rollouts needed (`over` as Records tells them), and the progress of
    cells that nobody changes; how many rows."""
    with records.transaction() as db:
        busy = set(db.execute(sa.select(LEASES.c.cell)).scalars())
        names = set(over.values())

        def delete(table: sa.Table, column: sa.Column[str], is_dead: Callable[[str], bool]) -> int:
            dead = [value for value in set(db.execute(sa.select(column)).scalars()) if is_dead(value)]
            return sum(db.execute(sa.delete(table).where(column == value)).rowcount for value in dead)

        spent = (INBOX, OUTBOX, READINGS)
        return (
            sum(delete(table, table.c.rollout, over.__contains__) for table in spent)
            + delete(ABORTS, ABORTS.c.attempt, lambda attempt: attempt.split(":")[0] in names)
            + delete(PROGRESS, PROGRESS.c.stack, lambda stack: stack.split(".")[0] not in busy)
        )
