"""What the database promises, on SQLite and on PostgreSQL."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from cellwave.errors import Leased
from cellwave.rollout import rows
from cellwave.rollout.cutting import forget_target
from cellwave.rollout.journal import faults
from cellwave.rollout.keys import attempt_name
from cellwave.rollout.leases import process_owner
from cellwave.rollout.loop import take_turn
from cellwave.rollout.model import Answer, Commanded, Note, Ran, first_state
from cellwave.rollout.records import Records, StackRow, recorded
from cellwave.rollout.rows import Memory, RolloutRow
from cellwave.rollout.tables import INBOX, JOURNAL
from tests.rollout.plans import NEW, plan


@pytest.fixture
def records(database_url: str) -> Records:
    """An empty database."""
    return Records(database_url)


def start(records: Records, name: str, cells: list[str], target: str = "t") -> RolloutRow:
    """Record a rollout of cells."""
    return records.create_rollout(first_state(name, plan([cells])), "ann", target, 1.0)


def end(records: Records, name: str) -> None:
    """Let a rollout end before it has touched anything."""
    records.command(f"end-{name}", name, Commanded(at=2.0, action="rollback", actor="ann"))
    while take_turn(records, Memory(), name, 2.0):
        pass


def record_ran(records: Records, ran: Ran, at: float = 2.0) -> None:
    """Record what is known of what a stack runs, since that second."""
    with records.transaction() as db:
        rows.write_ran(db, [(ran, at)], "t")


def test_a_rollout_is_recorded_with_all_its_leases_or_not_at_all(records: Records) -> None:
    """A second rollout that shares one cell changes nothing, and learns whose it is."""
    start(records, "v1-1", ["a", "b"])
    with pytest.raises(Leased, match="b by v1-1"):
        start(records, "v2-1", ["b", "c"])
    assert [r.id for r in records.rollouts()] == ["v1-1"]
    assert records.leases() == {"a": "v1-1", "b": "v1-1"}


def test_of_a_failover_pair_two_rollouts_have_one_each_at_no_time(records: Records) -> None:
    """Each brings one cell of the pair: the second learns who has the partner, and begins when that has ended."""
    pair = plan([["a"]]).model_copy(update={"partners": {"a": "b"}})
    records.create_rollout(first_state("v1-1", pair), "ann", "t", 1.0)
    other = first_state("v2-1", plan([["b"]]).model_copy(update={"partners": {"b": "a"}}))
    with pytest.raises(Leased, match="b's failover partner a by v1-1"):
        records.create_rollout(other, "ann", "t", 1.0)
    end(records, "v1-1")
    records.create_rollout(other, "ann", "t", 1.0)
    assert records.leases() == {"b": "v2-1"}


def test_two_commands_that_choose_the_same_name_start_one_rollout(records: Records) -> None:
    """The second learns of the first, whatever cells it wants."""
    start(records, "v1-1", ["a"])
    with pytest.raises(Leased, match="v1-1"):
        start(records, "v1-1", ["b"])
    assert records.leases() == {"a": "v1-1"}


def test_of_many_commands_at_once_one_gets_a_cell(database_url: str) -> None:
    """The others learn whose it is; also where the database is made at that moment."""

    def begin(name: str) -> str:
        made = Records(database_url)
        try:
            start(made, name, ["a"])
        except Leased as taken:
            return taken.message
        return "started"

    names = [f"v{n}-1" for n in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        said = list(pool.map(begin, names))
    [owner] = {r.id for r in Records(database_url).rollouts()}
    assert sorted(said) == ["cells are leased to another: a by " + owner] * 7 + ["started"]


def test_a_proven_stack_is_recorded_with_its_release(records: Records) -> None:
    """The planner learns from it what each stack runs; another backend's stacks are another's."""
    record_ran(records, Ran(kind="proven", deployment="a.storage", release=NEW, outputs={"url": "x"}))
    assert records.stacks("t") == {"a.storage": StackRow("a.storage", "t", NEW, {"url": "x"}, 2.0)}
    assert records.stacks("elsewhere") == {}
    record_ran(records, Ran(kind="gone", deployment="a.storage", release=None))
    assert records.stacks("t") == {}


def test_what_runs_is_unknown_from_an_attempt_s_beginning_to_its_proof(records: Records) -> None:
    """The last release that was proven there stays named; a stack where none ever was is there all the same."""
    record_ran(records, Ran(kind="proven", deployment="a.storage", release=NEW))
    for stack in ("a.storage", "a.query"):
        record_ran(records, Ran(kind="unknown", deployment=stack, release=None))
    known = {name: (row.release, row.known) for name, row in records.stacks("t").items()}
    assert known == {"a.storage": (NEW, False), "a.query": (None, False)}
    for stack in ("a.storage", "a.query"):
        record_ran(records, Ran(kind="unchanged", deployment=stack, release=None))
    assert {name: (row.release, row.known) for name, row in records.stacks("t").items()} == {
        "a.storage": (NEW, True)
    }


def test_an_attempt_that_changed_nothing_takes_no_older_doubt_away(records: Records) -> None:
    """What an earlier rollout left half-changed stays unknown, also where nothing was ever proven."""
    record_ran(records, Ran(kind="proven", deployment="a.storage", release=NEW))
    for stack in ("a.storage", "a.query"):
        for kind in ("unknown", "unknown", "unchanged"):
            record_ran(records, Ran.model_validate({"kind": kind, "deployment": stack}))
    known = {name: (row.release, row.known) for name, row in records.stacks("t").items()}
    assert known == {"a.storage": (NEW, False), "a.query": (None, False)}


def test_an_attempt_that_changed_nothing_leaves_since_when_something_runs(records: Records) -> None:
    """What somebody has put there by hand before it has been put there since still, and is seen as that."""
    record_ran(records, Ran(kind="proven", deployment="a.storage", release=NEW))
    proven = records.stacks("t")
    for kind in ("unknown", "unchanged"):
        record_ran(records, Ran.model_validate({"kind": kind, "deployment": "a.storage"}), at=9.0)
    assert records.stacks("t") == proven


def test_leases_end_with_the_rollout(records: Records) -> None:
    """Whatever the outcome."""
    start(records, "v1-1", ["a"])
    end(records, "v1-1")
    assert records.leases() == {}


def test_a_command_is_taken_once_and_its_answer_kept(records: Records) -> None:
    """The same command left twice is in the inbox once; whoever gave it learns what became of it."""
    start(records, "v1-1", ["a"])
    event = Commanded(at=1.0, action="pause", actor="ann")
    for _ in range(2):
        records.command("one", "v1-1", event)
    assert records.answer("one") is None
    while take_turn(records, Memory(), "v1-1", 2.0):
        pass
    answer = records.answer("one")
    assert answer is not None
    assert answer.kind == "taken"
    assert records.state("v1-1").head.paused == "ann"
    assert [entry.kind for entry in records.journal()].count("pause") == 1


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
    row = start(records, "v1-1", ["a"])
    start(records, "v0-1", ["b"])
    end(records, "v0-1")
    start(records, "v1-10", ["c"], "elsewhere")
    for target in ("t", "elsewhere"):
        records.set_stack(StackRow("a.app", target, NEW, {}, 1.0))
    up = process_owner("ann")
    records.lease(["d"], up)
    for name in ("v1-1", "v1-10"):
        take_turn(records, Memory(), name, 2.0)
        records.command(f"new-{name}", name, Commanded(at=1.0, action="pause", actor="ann"))
    assert "v1-1" in {asked.rollout for asked in records.unplaced("t")}
    assert records.targets() == {"t": "2 rollouts and 1 stack", "elsewhere": "1 rollout and 1 stack"}
    told = len(records.journal())

    assert forget_target(records, "t", "ann reset the sandbox", 7.0) == ("v1-1",)
    ends = {r.id: (r.head.outcome, r.head.reason) for r in records.rollouts()}
    assert ends["v1-1"] == ("failed", "ann reset the sandbox")
    assert (ends["v0-1"][0], ends["v1-10"]) == ("rolled_back", ("", ""))
    assert (records.stacks("t"), set(records.stacks("elsewhere"))) == ({}, {"a.app"})
    assert records.leases() == {"c": "v1-10", "d": up}
    assert {asked.rollout for asked in records.unplaced("t")} == {"v0-1"}
    assert {asked.rollout for asked in records.unplaced("elsewhere")} == {"v1-10"}
    with records.engine.connect() as db:
        untaken = db.execute(sa.select(INBOX.c.key).where(INBOX.c.turn.is_(None))).scalars().all()
    assert untaken == ["command:new-v1-10"]
    assert records.answer("new-v1-1") == Answer(kind="refused", said="it has ended: ann reset the sandbox")
    said = [(e.kind, e.rollout, e.subject, e.text) for e in records.journal()[told:]]
    assert said == [
        ("forgotten", "", "a.app", f"ran release {NEW[:12]}: ann reset the sandbox"),
        ("failed", "v1-1", "", "ann reset the sandbox"),
    ]
    assert not faults(records.journal())
    assert records.abort_asked(attempt_name(row.name, "a.storage", 1, back=False), row.id)
    assert forget_target(records, "t", "again", 8.0) == ()
    assert len(records.journal()) == told + 2


def test_a_database_is_only_looked_for(tmp_path: Path) -> None:
    """Whoever asks what is recorded makes no file."""
    url = f"sqlite:///{tmp_path / 'db'}"
    assert recorded(url) is None
    assert list(tmp_path.iterdir()) == []
    Records(url)
    assert recorded(url) is not None
