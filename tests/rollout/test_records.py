"""What the database promises, on SQLite and on PostgreSQL."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from cellwave.errors import Leased
from cellwave.rollout.journal import faults
from cellwave.rollout.records import Records, RolloutRow, StackRow, process_owner, recorded
from cellwave.rollout.state import Commanded, Note, Ran, Turn, first_state
from cellwave.rollout.tables import ABORTS, JOURNAL
from tests.rollout.plans import NEW, plan


@pytest.fixture
def records(database_url: str) -> Records:
    """An empty database."""
    return Records(database_url)


def row(name: str, cells: list[str]) -> RolloutRow:
    """A rollout of cells."""
    return RolloutRow(id=name, created=1.0, actor="ann", target="t", state=first_state(name, plan([cells])))


def test_a_rollout_is_recorded_with_all_its_leases_or_not_at_all(records: Records) -> None:
    """A second rollout that shares one cell changes nothing, and learns whose it is."""
    records.create_rollout(row("v1-1", ["a", "b"]))
    with pytest.raises(Leased, match="b by v1-1"):
        records.create_rollout(row("v2-1", ["b", "c"]))
    assert [r.id for r in records.rollouts()] == ["v1-1"]
    assert records.leases() == {"a": "v1-1", "b": "v1-1"}


def test_two_commands_that_choose_the_same_name_start_one_rollout(records: Records) -> None:
    """The second learns of the first, whatever cells it wants."""
    records.create_rollout(row("v1-1", ["a"]))
    with pytest.raises(Leased, match="v1-1"):
        records.create_rollout(row("v1-1", ["b"]))
    assert records.leases() == {"a": "v1-1"}


def test_of_many_commands_at_once_one_gets_a_cell(database_url: str) -> None:
    """The others learn whose it is; also where the database is made at that moment."""

    def start(name: str) -> str:
        made = Records(database_url)
        try:
            made.create_rollout(row(name, ["a"]))
        except Leased as taken:
            return taken.message
        return "started"

    names = [f"v{n}-1" for n in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        said = list(pool.map(start, names))
    [owner] = {r.id for r in Records(database_url).rollouts()}
    assert sorted(said) == ["cells are leased to another: a by " + owner] * 7 + ["started"]


def test_a_decision_kept_twice_is_kept_once(records: Records) -> None:
    """A step that is repeated after a crash writes no second journal line."""
    made = row("v1-1", ["a"])
    records.create_rollout(made)
    state = made.state.model_copy(update={"turn": 1})
    for _ in range(2):
        records.commit_turn(Turn(state=state, notes=(Note(kind="started", text="x"),)), 2.0, "t")
    assert [e.kind for e in records.journal()] == ["started"]


def test_a_converged_stack_is_recorded_with_its_release(records: Records) -> None:
    """The planner learns from it what each stack runs; another backend's stacks are another's."""
    made = row("v1-1", ["a"])
    records.create_rollout(made)
    ran = Ran(deployment="a.storage", release=NEW, outputs={"url": "x"})
    records.commit_turn(Turn(state=made.state, ran=(ran,)), 2.0, "t")
    assert {n: (s.release, s.outputs) for n, s in records.stacks("t").items()} == {
        "a.storage": (NEW, {"url": "x"})
    }
    assert records.stacks("elsewhere") == {}
    gone = Ran(deployment="a.storage", release=None)
    records.commit_turn(Turn(state=made.state, ran=(gone,)), 3.0, "t")
    assert records.stacks("t") == {}


def test_leases_end_with_the_rollout(records: Records) -> None:
    """Whatever the outcome."""
    made = row("v1-1", ["a"])
    records.create_rollout(made)
    records.commit_turn(Turn(state=made.state.model_copy(update={"outcome": "failed", "turn": 1})), 2.0, "t")
    assert records.leases() == {}


def test_a_command_is_taken_once(records: Records) -> None:
    """The same command left twice is delivered once."""
    event = Commanded(at=1.0, action="pause", actor="ann")
    for _ in range(2):
        records.command("one", "v1-1", event)
    [(identity, name, text)] = records.undelivered()
    assert (identity, name) == ("one", "v1-1")
    assert Commanded.model_validate_json(text) == event
    records.delivered(identity)
    assert records.undelivered() == []


def test_the_chain_stays_whole_under_concurrent_writers(records: Records) -> None:
    """The worker and command lines write at the same time."""

    def write(name: str) -> None:
        for number in range(15):
            records.note(f"{name}/{number}", Note(kind="k", text=name))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = records.journal()
    assert len(entries) == 60
    assert faults(entries) == []


def test_a_line_changed_in_the_database_is_found(records: Records) -> None:
    """Tampering shows."""
    records.note("a", Note(kind="approve", text="", actor="ann"))
    records.note("b", Note(kind="done", text=""))
    with records.engine.begin() as db:
        db.execute(sa.update(JOURNAL).where(JOURNAL.c.seq == 1).values(actor="mallory"))
    assert faults(records.journal())


def test_the_lease_of_a_dead_command_line_is_taken_over(records: Records) -> None:
    """`cellwave up` that was killed does not block its cell for ever; a living one does."""
    dead = f"up:ann:{socket.gethostname()}:{2**22 + 1}:1.00"
    records.lease(["a"], dead)
    records.lease(["a"], "v1-1")
    assert records.leases() == {"a": "v1-1"}
    for living in (process_owner("ann"), f"up:ann:another-host:{2**22 + 1}:1.00"):
        records.lease(["b"], living)
        with pytest.raises(Leased):
            records.lease(["b"], "v1-1")
        records.end_lease(living)


def test_what_a_stack_runs_is_replaced(records: Records) -> None:
    """The last deployment counts."""
    for release in ("one", "two"):
        records.set_stack(StackRow("a.app", "t", release, {"url": "x"}, 1.0))
    assert records.stacks("t")["a.app"].release == "two"
    assert records.stacks("t")["a.app"].outputs == {"url": "x"}


def test_what_a_target_ran_is_forgotten_and_other_targets_stay(records: Records) -> None:
    """Its stacks, and all that its unfinished rollouts hold; ended ones, other backends, and `up` keep theirs."""
    records.create_rollout(row("v1-1", ["a"]))
    ended = row("v0-1", ["b"])
    records.create_rollout(ended)
    records.commit_turn(Turn(state=ended.state.model_copy(update={"outcome": "done", "turn": 1})), 2.0, "t")
    records.create_rollout(row("v1-10", ["c"]).model_copy(update={"target": "elsewhere"}))
    for target in ("t", "elsewhere"):
        records.set_stack(StackRow("a.app", target, NEW, {}, 1.0))
    up = process_owner("ann")
    records.lease(["d"], up)
    pause = Commanded(at=1.0, action="pause", actor="ann")
    for name in ("v1-1", "v1-10"):
        records.ask_abort(f"{name}:a.app:forward:1")
        records.command(f"new-{name}", name, pause)
        records.command(f"old-{name}", name, pause)
        records.delivered(f"old-{name}")
    assert records.targets() == {"t": "2 rollouts and 1 stack", "elsewhere": "1 rollout and 1 stack"}

    assert records.forget_target("t", "ann reset the sandbox", 7.0) == ("v1-1",)
    states = {r.id: (r.state.outcome, r.state.reason) for r in records.rollouts()}
    assert states == {"v1-1": ("failed", "ann reset the sandbox"), "v0-1": ("done", ""), "v1-10": ("", "")}
    assert (records.stacks("t"), set(records.stacks("elsewhere"))) == ({}, {"a.app"})
    assert records.leases() == {"c": "v1-10", "d": up}
    assert [(identity, name) for identity, name, _ in records.undelivered()] == [("new-v1-10", "v1-10")]
    with records.engine.connect() as db:
        assert [found.attempt for found in db.execute(ABORTS.select())] == ["v1-10:a.app:forward:1"]
    said = [(e.kind, e.rollout, e.subject, e.text) for e in records.journal()]
    assert said == [
        ("forgotten", "", "a.app", f"ran release {NEW[:12]}: ann reset the sandbox"),
        ("failed", "v1-1", "", "ann reset the sandbox"),
    ]
    assert not faults(records.journal())
    assert records.forget_target("t", "again", 8.0) == ()
    assert len(records.journal()) == 2


def test_a_rollout_that_another_hand_ended_is_not_brought_back(records: Records) -> None:
    """A decision that was pending meanwhile keeps nothing: no state, no journal line, no stack."""
    made = row("v1-1", ["a"])
    records.create_rollout(made)
    records.forget_target("t", "gone", 7.0)
    ran = Ran(deployment="a.storage", release=NEW)
    for outcome in ("", "done"):
        state = made.state.model_copy(update={"turn": 1, "outcome": outcome})
        late = Turn(state=state, notes=(Note(kind="converged", text="x"),), ran=(ran,))
        assert not records.commit_turn(late, 8.0, "t")
    assert [e.kind for e in records.journal()] == ["failed"]
    assert (records.stacks("t"), records.unfinished("t")) == ({}, set())
    assert records.abort_asked("v1-1:a.storage:forward:1")
    assert not records.abort_asked("v1-10:a.storage:forward:1")


def test_the_last_decision_of_a_rollout_is_kept_twice_as_once(records: Records) -> None:
    """A worker that died before it noted that it had kept it goes on with what follows."""
    made = row("v1-1", ["a"])
    records.create_rollout(made)
    ended = Turn(state=made.state.model_copy(update={"outcome": "rolled_back", "turn": 1}))
    assert [records.commit_turn(ended, 2.0, "t") for _ in range(2)] == [True, True]


def test_a_database_is_only_looked_for(tmp_path: Path) -> None:
    """Whoever asks what is recorded makes no file."""
    url = f"sqlite:///{tmp_path / 'db'}"
    assert recorded(url) is None
    assert list(tmp_path.iterdir()) == []
    Records(url)
    assert recorded(url) is not None
