"""What an earlier cellwave recorded is read by this one."""

from __future__ import annotations

from pathlib import Path

from cellwave.fleet.parse import parse_fleet
from cellwave.project import Project
from cellwave.releases.store import DirectoryStore
from cellwave.rollout.journal import faults
from cellwave.rollout.records import Records
from tests.rollout.recorded import TARGETS, recorded_database, recorded_statuses


def test_every_recorded_rollout_has_the_status_it_had(tmp_path: Path) -> None:
    """And holds the cells it held; the journal is whole."""
    records = Records(f"sqlite:///{recorded_database(tmp_path)}")
    rows = records.rollouts()
    assert {row.id: row.state.status for row in rows} == recorded_statuses()
    unfinished = {row.id for row in rows if not row.state.outcome}
    assert set().union(*(records.unfinished(target) for target in TARGETS)) == unfinished
    leases = records.leases()
    assert {owner for owner in leases.values() if not owner.startswith("up:")} == unfinished
    assert [name for _, name, _ in records.undelivered()] == ["commanded-1"]
    assert records.abort_asked("condemned-1:condemned-a.base:forward:1")
    assert not faults(records.journal())


def test_what_the_records_say_runs_is_what_runs_where_nothing_was_under_way(tmp_path: Path) -> None:
    """The fixture's world is that of its records; its releases are there, with their fleets."""
    records = Records(f"sqlite:///{recorded_database(tmp_path)}")
    store = DirectoryStore(Project(tmp_path / "project").releases)
    ended = {"ended-1", "undone-1", "stuck-1"}
    for row in records.rollouts():
        plan = row.state.forward.plan
        fleet = parse_fleet(Project(store.path(plan.release)).config_files())
        assert {step.deployment for step in plan.steps} <= set(fleet.stacks)
        for step in plan.steps if row.id in ended else ():
            runs = (tmp_path / f"runs-{step.deployment}").read_text()
            assert records.stacks(row.target)[step.deployment].release == runs
