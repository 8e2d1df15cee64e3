"""A rollout in rows, and its turns the core's own: its state was one text, decided on inside of a workflow of DBOS.

What is under way goes on; before_0003.py says how. The old workflows never run again.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping

import sqlalchemy as sa
from alembic import op

from cellwave.rollout.migrations.before_0003 import Json, Old, Rollout, canonical

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Read what there is, make the new tables, and write it into them."""
    db = op.get_bind()
    old = read(db)
    for name in ("rollouts", "stacks", "commands"):
        op.drop_table(name)
    tables = make_tables()
    for name, rows in old.rows(time.time()).items():
        if rows:
            op.bulk_insert(tables[name], rows)
    retire_workflows(db)


def make_tables() -> dict[str, sa.TableClause]:
    """The new tables, by name."""
    plans = op.create_table(
        "plans",
        sa.Column("hash", sa.String, primary_key=True),
        sa.Column("plan", sa.Text, nullable=False),
    )
    rollouts = op.create_table(
        "rollouts",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("release", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("plan", sa.String, nullable=False),
        sa.Column("back_plan", sa.String),
        sa.Column("head", sa.Text, nullable=False),
        sa.Column("forward", sa.Text, nullable=False),
        sa.Column("back", sa.Text),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("due", sa.Float),
        sa.Column("ended", sa.Boolean, nullable=False),
        sa.Column("trouble", sa.Text, nullable=False),
    )
    tracks = op.create_table(
        "tracks",
        sa.Column("rollout", sa.String, primary_key=True),
        sa.Column("leg", sa.String, primary_key=True),
        sa.Column("deployment", sa.String, primary_key=True),
        sa.Column("phase", sa.String, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("changed", sa.Boolean, nullable=False),
        sa.Column("transient", sa.Boolean, nullable=False),
        sa.Column("applied", sa.Text),
    )
    readings = op.create_table(
        "readings",
        sa.Column("rollout", sa.String, primary_key=True),
        sa.Column("cell", sa.String, primary_key=True),
        sa.Column("gates", sa.Text, nullable=False),
    )
    aborts = sa.table("aborts", sa.column("attempt"))  # as it was
    op.create_table(
        "workers",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("host", sa.String, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("beat", sa.Float, nullable=False),
    )
    made = (plans, rollouts, tracks, readings, *make_boxes(), make_stacks(), aborts)
    return {table.name: table for table in made}


def make_boxes() -> tuple[sa.Table, sa.Table]:
    """What has happened, and what was asked for."""
    inbox = op.create_table(
        "inbox",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String, unique=True, nullable=False),
        sa.Column("rollout", sa.String, nullable=False, index=True),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("turn", sa.Integer),
        sa.Column("answer", sa.String),
        sa.Column("said", sa.Text),
    )
    untaken = sa.text("turn IS NULL")
    op.create_index("untaken", "inbox", ["rollout"], sqlite_where=untaken, postgresql_where=untaken)
    outbox = op.create_table(
        "outbox",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("rollout", sa.String, nullable=False, index=True),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("effect", sa.Text, nullable=False),
        sa.Column("asked", sa.Float, nullable=False),
        sa.Column("placed", sa.Boolean, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("owner", sa.String),
        sa.Column("done", sa.Float),
    )
    undone = sa.text("done IS NULL")
    op.create_index("undone", "outbox", ["target"], sqlite_where=undone, postgresql_where=undone)
    return inbox, outbox


def make_stacks() -> sa.Table:
    """What each stack runs, and whether that is known."""
    return op.create_table(
        "stacks",
        sa.Column("stack", sa.String, primary_key=True),
        sa.Column("target", sa.String, primary_key=True),
        sa.Column("release", sa.String),
        sa.Column("known", sa.Boolean, nullable=False),
        sa.Column("outputs", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )


def read(db: sa.Connection) -> Old:
    """Everything that is to be moved."""
    query = sa.text("SELECT id, created, actor, target, state FROM rollouts ORDER BY created")
    rollouts = {
        row.id: Rollout(row.id, row.created, row.actor, row.target, json.loads(row.state))
        for row in db.execute(query)
    }
    lines = sa.text("SELECT rollout, kind, actor, at FROM journal WHERE rollout != '' ORDER BY seq")
    for line in db.execute(lines):
        if rollout := rollouts.get(line.rollout):
            rollout.said_at = line.at
            rollout.said.add(line.kind)
    commands = db.execute(sa.text("SELECT id, rollout, event, delivered FROM commands ORDER BY id")).all()
    for command in commands:
        if rollout := rollouts.get(command.rollout):
            rollout.commands[canonical(json.loads(command.event))] = command.id
    undelivered = ((c.rollout, json.loads(c.event)) for c in commands if not c.delivered)
    for name, event in (*read_undecided(db, rollouts), *read_unread(db), *undelivered):
        if rollout := rollouts.get(name):
            rollout.hear(event)
    stacks = db.execute(sa.text("SELECT stack, target, release, outputs, at FROM stacks")).mappings()
    return Old(
        rollouts=list(rollouts.values()),
        ran={(row["stack"], row["target"]): dict(row) for row in stacks},
        aborts=set(db.execute(sa.text("SELECT attempt FROM aborts")).scalars()),
    )


def dbos_table(db: sa.Connection, name: str, *columns: str) -> sa.TableClause | None:
    """A table of DBOS's; None when there is none (no worker has ever begun)."""
    schema = None if db.dialect.name == "sqlite" else "dbos"
    if not sa.inspect(db).has_table(name, schema=schema):
        return None
    return sa.table(name, *map(sa.column, columns), schema=schema)


def read_undecided(db: sa.Connection, rollouts: Mapping[str, Rollout]) -> Iterator[tuple[str, Json]]:
    """What workflows had taken from their inbox when they died, and not decided on.

    A workflow notes each turn that it has kept, and the one after a message is the one that decided on it. The last
    turn may have been kept and not been noted.
    """
    columns = ("workflow_uuid", "function_id", "function_name", "output", "error")
    steps = dbos_table(db, "operation_outputs", *columns)
    if steps is None:
        return
    kept: dict[str, int] = defaultdict(int)
    query = sa.select(steps).where(steps.c.function_name.in_(["commit", "DBOS.recv"]))
    for step in db.execute(query.order_by(steps.c.workflow_uuid, steps.c.function_id)):
        name = step.workflow_uuid
        if step.function_name == "commit":
            kept[name] += step.error is None
        elif name in rollouts and kept[name] >= rollouts[name].state.get("turn", 0):
            yield from message(name, step.output)


def read_unread(db: sa.Connection) -> Iterator[tuple[str, Json]]:
    """What lies in inboxes of DBOS."""
    columns = ("destination_uuid", "topic", "message", "consumed", "created_at_epoch_ms")
    letters = dbos_table(db, "notifications", *columns)
    if letters is None:
        return
    query = sa.select(letters).where(letters.c.topic == "inbox").order_by(letters.c.created_at_epoch_ms)
    for letter in db.execute(query):
        if not letter.consumed:
            yield from message(letter.destination_uuid, letter.message)


def message(rollout: str, kept: str | None) -> Iterator[tuple[str, Json]]:
    """What was sent to a rollout: JSON in a text, kept by DBOS as JSON; nothing where the wait for it was in vain."""
    sent = json.loads(kept) if kept else None
    if isinstance(sent, str):
        yield rollout, json.loads(sent)


def retire_workflows(db: sa.Connection) -> None:
    """Let no old workflow run again. Those of rollouts stay, as cancelled: an old worker begins no other instead."""
    flows = dbos_table(db, "workflow_status", "workflow_uuid", "name", "status")
    if flows is None:
        return
    old = sa.select(flows.c.workflow_uuid).where(flows.c.name.in_(["rollout", "deployment"]))
    for name in ("operation_outputs", "workflow_input", "workflow_output", "notifications"):
        column = "destination_uuid" if name == "notifications" else "workflow_uuid"
        if (table := dbos_table(db, name, column)) is not None:
            db.execute(sa.delete(table).where(table.c[column].in_(old)))
    db.execute(sa.delete(flows).where(flows.c.name == "deployment"))
    over = sa.update(flows).where(flows.c.name == "rollout", flows.c.status != "SUCCESS")
    db.execute(over.values(status="CANCELLED"))
