"""What an earlier cellwave had under way goes on under this one, on either database, and nothing is done twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from cellwave.fleet.parse import parse_fleet
from cellwave.project import Project
from cellwave.releases.store import DirectoryStore
from cellwave.rollout.database import open_engine
from cellwave.rollout.journal import faults
from cellwave.rollout.model import Action, Commanded
from cellwave.rollout.records import Records
from cellwave.rollout.tables import INBOX, OUTBOX
from tests.rollout.recorded import TARGETS, recorded_on, recorded_statuses, recorded_world

WORDS: dict[str, Action] = {
    "paused-1": "resume",
    "approval-1": "approve",
    "inconclusive-1": "approve",
    "transient-1": "resume",
}
TAKEN_BACK = {"commanded-1", "delivered-1", "condemned-1", "back-1", "reversing-1"}


@dataclass(frozen=True)
class Found:
    """The recorded database as this cellwave opens it, and the world around it."""

    folder: Path
    url: str
    records: Records

    def runs(self, stack: str) -> str:
        """The release that a stack really runs."""
        return (self.folder / f"runs-{stack}").read_text()

    def engines(self) -> list[str]:
        """The attempts whose engines have run, in order."""
        return (self.folder / "engine.log").read_text().splitlines()

    def keys(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> dict[str, str]:
        """Key and rollout of rows of an inbox or outbox."""
        with self.records.engine.connect() as db:
            return {row.key: row.rollout for row in db.execute(sa.select(table).where(*where))}


@pytest.fixture
def found(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Found]:
    """The database, brought up to date."""
    monkeypatch.delenv("CELLWAVE_HOME", raising=False)
    engine = open_engine(database_url)
    url = recorded_on(engine)
    engine.dispose()
    monkeypatch.setenv("CELLWAVE_DATABASE_URL", url)
    recorded_world(tmp_path)
    records = Records(url)
    yield Found(tmp_path, url, records)
    records.engine.dispose()


def test_every_recorded_rollout_has_the_status_it_had(found: Found) -> None:
    """And holds the cells it held; its plan is that of a release that is there; the journal is whole."""
    records, store = found.records, DirectoryStore(Project(found.folder / "project").releases)
    states = {row.id: records.state(row.id) for row in records.rollouts()}
    assert {name: state.status for name, state in states.items()} == recorded_statuses()
    unfinished = {name for name, state in states.items() if not state.outcome}
    assert set().union(*(records.unfinished(target) for target in TARGETS)) == unfinished
    assert {owner for owner in records.leases().values() if not owner.startswith("up:")} == unfinished
    for state in states.values():
        plan = state.forward.plan
        fleet = parse_fleet(Project(store.path(plan.release)).config_files())
        assert {step.deployment for step in plan.steps} <= set(fleet.stacks)
    assert not faults(records.journal())


def test_what_is_asked_of_a_person_is_asked_still(found: Found) -> None:
    """With what would answer it."""
    asked = {row.id: row.head.waiting for row in found.records.rollouts() if row.head.waiting}
    assert {name: (waiting.kind, waiting.wave) for name, waiting in asked.items()} == {
        "approval-1": ("approval", "asked"),
        "inconclusive-1": ("inconclusive", "short"),
        "transient-1": ("failed", "first"),
    }
    assert "ThrottlingException" in asked["transient-1"].what
    assert [gate.cell for gate in found.records.readings("inconclusive-1")] == ["inconclusive-a"] * 3


def test_what_had_reached_an_inbox_is_in_the_new_one(found: Found) -> None:
    """Read or not, delivered or not, if no decision was kept on it; what was decided on is not told again."""
    told = found.keys(INBOX)
    clock = {key for key in told if key.endswith(":moved")}
    assert {told[key] for key in clock} == set(found.records.unfinished(TARGETS[0])) - {"unbegun-1"} | {
        "elsewhere-1"
    }
    assert set(told) - clock == {
        "unread-1:unread-a.base:forward:1",
        "unread-1:unread-b.base:forward:1",
        "delivered-1:delivered-a.base:forward:1",
        "failing-1:failing-a.base:forward:1",
        "command:delivered-1/rollback",
        "command:commanded-1/rollback",
        "unbegun-1:started",
    }


def test_what_had_not_reported_is_asked_for_under_its_own_name(found: Found) -> None:
    """A pending child of DBOS, and one that a kept decision wanted; what is to be interrupted stays so."""
    assert set(found.keys(OUTBOX)) == {
        "deploying-1:deploying-a.base:forward:1",
        "deployed-1:deployed-a.base:forward:1",
        "retried-1:retried-a.base:forward:2",
        "kept-1:kept-a.app:forward:1",
        "condemned-1:condemned-a.base:forward:1",
        "back-1:back-a.base:back:1",
        "reversing-1:reversed-a.base:back:1",
    }
    assert found.records.abort_asked("condemned-1:condemned-a.base:forward:1", "condemned-1")
    assert not found.records.abort_asked("deploying-1:deploying-a.base:forward:1", "deploying-1")


def test_what_a_stack_runs_is_known_but_where_an_attempt_was_not_proven(found: Found) -> None:
    """What ended in nothing, or was under way."""
    unknown = {
        name for target in TARGETS for name, row in found.records.stacks(target).items() if not row.known
    }
    assert unknown == {
        "deploying-a.base", "deployed-a.base", "retried-a.base", "kept-a.app", "condemned-a.base", "back-a.base",
        "reversed-a.base", "unread-a.base", "unread-b.base", "delivered-a.base", "failing-a.base", "transient-a.base",
        "stuck-a.base",
    }  # fmt: skip


def test_every_recorded_rollout_goes_on_to_its_end(found: Found) -> None:
    """A worker of today needs no more than a person's word where one was wanted."""
    records = found.records
    (found.folder / "deadly").write_text("nowhere")
    before = found.engines()
    for name, action in WORDS.items():
        records.command(f"{name}/word", name, Commanded(at=1.0, action=action, actor="bob@host"))
    for target in TARGETS[:2]:
        argv = [sys.executable, "-m", "tests.rollout.recorded.finishing", str(found.folder), target]
        subprocess.run(argv, timeout=300, check=True)
    was = recorded_statuses()
    for row in records.rollouts():
        ended = was[row.id] in {"done", "failed", "rolled_back"}
        outcome = was[row.id] if ended else "rolled_back" if row.id in TAKEN_BACK else "done"
        assert (row.id, row.head.outcome, row.trouble) == (row.id, outcome, "")
        for step in records.state(row.id).forward.plan.steps if not ended else ():
            known = records.stacks(row.target)[step.deployment]
            wanted = step.release if outcome == "done" else step.previous
            assert (known.release, known.known) == (wanted, True)
            assert found.runs(step.deployment) == wanted
    engines = found.engines()
    assert engines[: len(before)] == before
    assert len(set(engines)) == len(engines), "what had been deployed was not deployed again"
    assert all(owner.startswith("up:") for owner in records.leases().values())
    assert not found.keys(INBOX, INBOX.c.turn.is_(None))
    answers = [*(f"{name}/word" for name in WORDS), "delivered-1/rollback", "commanded-1/rollback"]
    assert [getattr(records.answer(name), "kind", None) for name in answers] == ["taken"] * len(answers)
    assert not faults(records.journal())


def test_no_old_workflow_is_left_to_run(found: Found) -> None:
    """Those of rollouts stay as cancelled ones, so that a worker that is still of the old kind begins no other."""
    schema = None if found.records.engine.dialect.name == "sqlite" else "dbos"
    flows = sa.table("workflow_status", sa.column("name"), sa.column("status"), schema=schema)
    with found.records.engine.connect() as db:
        left = {(row.name, row.status) for row in db.execute(sa.select(flows))}
    assert left == {("rollout", "SUCCESS"), ("rollout", "CANCELLED")}
