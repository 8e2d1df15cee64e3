"""A turn is one transaction: whatever happened is taken in once, by whoever comes first."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
import sqlalchemy as sa

from cellwave.rollout import loop, rows
from cellwave.rollout.beats import Worker, enter
from cellwave.rollout.decide import decide
from cellwave.rollout.loop import ready, take_turn, take_turns
from cellwave.rollout.model import (
    Action,
    Applied,
    Checked,
    Commanded,
    Deploy,
    Deployed,
    Effect,
    Event,
    Failure,
    State,
    Turn,
    first_state,
)
from cellwave.rollout.outbox import Asked, begin_all, end_all
from cellwave.rollout.records import Records
from cellwave.rollout.rows import ASIDE, Memory
from cellwave.rollout.tables import INBOX, ROLLOUTS
from cellwave.waves.model import Plan
from tests.postgres.server import Server
from tests.rollout.plans import plan

ME = Worker(id="here:1:life", seat="here:1", target="t")


@pytest.fixture
def records(database_url: str) -> Records:
    """A database with a rollout that has begun, and whose first wave waits for a look."""
    made = Records(database_url)
    enter(made, ME)
    made.create_rollout(first_state("v2-1", plan([["a"]])), "ann", "t", 1.0)
    assert take_turn(made, Memory(), "v2-1", 1.0)
    return made


def turns(records: Records, memory: Memory, now: float = 2.0) -> None:
    """Take every turn there is to take."""
    while take_turns(records, memory, "t", now):
        pass


def deployed(effect: Effect) -> Deployed:
    """A deployment's engine has ended well, and nobody can look at what runs."""
    assert isinstance(effect, Deploy)
    step, how = effect.step, Applied(outputs={}, seconds=1.0)
    return Deployed(
        at=2.0, deployment=step.deployment, attempt=effect.attempt, back=False, result=how, unseen=True
    )


def tell_checked(records: Records) -> None:
    """Let the look before the wave find nothing."""
    [asked] = records.unplaced("t")
    assert records.begin(asked.key, ME.id)
    records.finish(asked, Checked(at=2.0, look=1), ME.id)


def test_an_effect_told_twice_is_taken_once(records: Records) -> None:
    """Its end has the effect's own key; whoever performed it again tells nothing new."""
    [asked] = records.unplaced("t")
    assert records.begin(asked.key, ME.id)
    for _ in range(2):
        records.finish(asked, Checked(at=2.0, look=1), ME.id)
        turns(records, Memory())
    assert [entry.kind for entry in records.journal()].count("deploying") == 1
    assert not take_turn(records, Memory(), "v2-1", 2.0)


def test_who_remembers_an_older_turn_reads_the_newer_one(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hosts take turns of one rollout; neither decides on what it remembers of before the other's."""
    monkeypatch.setattr(rows, "LEFT_SECONDS", 0.0)
    one, other = Memory(), Memory()
    records.command("p", "v2-1", Commanded(at=2.0, action="pause", actor="ann"))
    turns(records, one)
    records.command("r", "v2-1", Commanded(at=2.0, action="resume", actor="bob", question=0))
    turns(records, other)
    tell_checked(records)
    turns(records, one)
    assert records.state("v2-1").head.paused == ""
    assert [asked.key.split(":", 1)[1] for asked in records.unplaced("t")] == ["a.storage:forward:1"]


def test_a_rollout_is_left_to_the_worker_that_took_its_last_turn(records: Records) -> None:
    """To know again what that one knows would cost what the fleet is big, at each turn."""
    one, other = Memory(), Memory()
    for number, memory in enumerate((one, other)):
        records.command(str(number), "v2-1", Commanded(at=2.0, action="pause", actor="ann"))
        turns(records, memory)
    tell_checked(records)
    assert not take_turns(records, one, "t", 2.0)
    assert take_turns(records, other, "t", 2.0)


def test_a_rollout_that_nobody_takes_the_turns_of_is_left_to_nobody() -> None:
    """A second after a turn was seen to be ready whoever sees it takes it, and at once who never knew the rollout."""
    memory = Memory()
    assert not memory.leaves_to_another("v2-1", 5, 100.0)
    memory.states["v2-1"] = first_state("v2-1", plan([["a"]]))
    assert not memory.leaves_to_another("v2-1", 0, 100.0)
    looks = [(1, 100.0), (1, 100.9), (2, 101.1), (2, 102.0), (2, 102.2), (2, 102.3)]
    left = [memory.leaves_to_another("v2-1", turn, at) for turn, at in looks]
    assert left == [True, True, True, True, False, False]


@pytest.mark.parametrize("cells", [1, 9])
def test_ends_that_come_together_are_written_by_as_many_statements_as_one(
    database_url: str, cells: int
) -> None:
    """What is of one kind is written at once: two for owners and ends, one for the inbox, seven for all turns of it."""
    records, memory = Records(database_url), Memory()
    enter(records, ME)
    wave = [f"c{number}" for number in range(cells)]
    records.create_rollout(first_state("v2-1", plan([wave], concurrency=cells)), "ann", "t", 1.0)
    turns(records, memory)
    tell_checked(records)
    turns(records, memory)
    wanted = [(asked.key, ME.id) for asked in records.unplaced("t") if isinstance(asked.effect, Deploy)]
    said: list[str] = []
    sa.event.listen(records.engine, "before_cursor_execute", lambda *call: said.append(call[2]))
    with records.transaction() as db:
        begun = begin_all(db, wanted)
        end_all(db, [(asked, deployed(asked.effect), ME.id) for asked in begun if asked])
    assert take_turns(records, memory, "t", 3.0)
    assert len(begun) == cells
    assert sum(text.startswith(("INSERT", "UPDATE", "DELETE")) for text in said) == 3 + 7, said


def test_what_one_host_hands_over_another_neither_waits_for_nor_hands_over(postgres: Server) -> None:
    """Two that wait for each other's would end one of them, after a second."""
    with postgres.database() as url:
        one, other = Records(url), Records(url)
        one.create_rollout(first_state("v2-1", plan([["a", "b"]])), "ann", "t", 1.0)
        turns(one, Memory())
        found, handed = one.unplaced("t"), list[str]()

        def hand_over(_: sa.Connection, asked: Asked) -> None:
            handed.append(asked.key)
            other.placed(found, hand_over)

        one.placed(found, hand_over)
        other.placed(found, hand_over)
        assert handed == [asked.key for asked in found]
        assert not one.unplaced("t")


def test_what_is_not_understood_is_set_aside_and_told_of(records: Records) -> None:
    """It stays where it is; what came after it is taken."""
    with records.transaction() as db:
        row = {"key": "strange", "rollout": "v2-1", "event": '{"kind": "of another version"}'}
        db.execute(sa.insert(INBOX).values(row))
    tell_checked(records)
    turns(records, Memory())
    assert [asked.key.split(":", 1)[1] for asked in records.unplaced("t")] == ["a.storage:forward:1"]
    [line] = [entry.text for entry in records.journal("v2-1") if entry.kind == "set_aside"]
    assert "of another version" in line
    with records.engine.connect() as db:
        assert db.execute(sa.select(INBOX.c.turn).where(INBOX.c.key == "strange")).scalar() == ASIDE


def test_a_turn_that_cant_be_taken_says_why_and_a_person_gets_past_it(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be decided stays in the inbox; commands go first, and the other rollouts go on."""

    def decide_no_look(state: State, event: Event) -> Turn:
        if isinstance(event, Checked):
            raise ValueError("this version does not know what to do")
        return decide(state, event)

    monkeypatch.setattr(loop, "decide", decide_no_look)
    tell_checked(records)
    records.create_rollout(first_state("v3-1", plan([["b"]])), "ann", "t", 1.0)
    take_turns(records, Memory(), "t", 2.0)
    found = records.rollout("v2-1")
    assert found is not None
    assert "does not know what to do" in found.trouble
    assert records.state("v3-1").head.turn == 1
    records.command("out", "v2-1", Commanded(at=3.0, action="rollback", actor="ann"))
    take_turns(records, Memory(), "t", 3.0)
    answer = records.answer("out")
    assert answer is not None
    assert answer.kind == "taken"
    assert records.state("v2-1").outcome == "rolled_back"


def test_a_state_is_read_as_of_one_turn(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when another turn is taken while it is read."""
    find = rows._plan

    def meanwhile(*arguments: Any) -> Plan:
        monkeypatch.setattr(rows, "_plan", find)
        tell_checked(records)
        turns(records, Memory())
        return find(*arguments)

    monkeypatch.setattr(rows, "_plan", meanwhile)
    read = records.state("v2-1")
    assert (read.head.turn, read.forward.track("a.storage").phase) == (1, "pending")
    now = records.state("v2-1")
    assert (now.head.turn, now.forward.track("a.storage").phase) == (2, "running")


def test_an_engines_words_are_kept_whatever_is_in_them(records: Records) -> None:
    """A program may print a NUL, which one of the databases takes in no text."""
    tell_checked(records)
    turns(records, Memory())
    [asked] = records.unplaced("t")
    failed = Failure(reason="it said \0 and \x1b")
    deployed = Deployed(at=3.0, deployment="a.storage", attempt=1, back=False, result=failed)
    assert records.begin(asked.key, ME.id)
    records.finish(asked, deployed, ME.id)
    turns(records, Memory())
    assert records.state("v2-1").forward.track("a.storage").reason == "it said \\x00 and \x1b"


def test_what_a_database_refuses_of_one_rollout_holds_up_no_other(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, and the others go on."""
    keep = rows.keep

    def refusing(db: sa.Connection, row: sa.Row[Any], *rest: Any) -> None:
        if row.id == "v2-1":
            raise sa.exc.DataError("update", {}, ValueError("no such text"))
        keep(db, row, *rest)

    monkeypatch.setattr(rows, "keep", refusing)
    tell_checked(records)
    records.create_rollout(first_state("v3-1", plan([["b"]])), "ann", "t", 2.0)
    take_turns(records, Memory(), "t", 2.0)
    found = records.rollout("v2-1")
    assert found is not None
    assert "no such text" in found.trouble
    assert records.state("v3-1").head.turn == 1


def command(records: Records, *actions: Action) -> None:
    """Leave commands in the inbox, each under its own name."""
    for action in actions:
        records.command(action, "v2-1", Commanded(at=2.0, action=action, actor="ann", question=0))


def test_all_that_has_happened_is_taken_in_one_transaction(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn an event, each with its own number and answer; together they are kept or not."""
    command(records, "pause", "resume")
    transaction = Mock(side_effect=records.transaction)
    monkeypatch.setattr(records, "transaction", transaction)
    assert take_turn(records, Memory(), "v2-1", 2.0)
    transaction.assert_called_once()
    assert records.state("v2-1").head.turn == 3
    answers = [records.answer(action) for action in ("pause", "resume")]
    assert [answer.kind for answer in answers if answer] == ["taken", "taken"]


def test_what_cant_be_taken_holds_up_nothing_that_came_before_it(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one transaction can't take together is taken one by one, as far as it can be."""

    def decide_no_resume(state: State, event: Event) -> Turn:
        if isinstance(event, Commanded) and event.action == "resume":
            raise ValueError("this version does not know what to do")
        return decide(state, event)

    monkeypatch.setattr(loop, "decide", decide_no_resume)
    command(records, "pause", "resume")
    memory = Memory()
    for _ in range(3):
        take_turns(records, memory, "t", 2.0)
    found = records.rollout("v2-1")
    assert found is not None
    assert (found.head.turn, found.head.paused, bool(found.trouble)) == (2, "ann", True)


@pytest.mark.parametrize(("due", "is_ready"), [(None, False), (50.0, True), (150.0, False), (7300.0, True)])
def test_a_rollout_is_ready_when_its_time_has_come(
    records: Records, due: float | None, is_ready: bool
) -> None:
    """Also when that is hours away: no timer is so long, a clock was put back."""
    with records.transaction() as db:
        db.execute(sa.update(ROLLOUTS).values(due=due))
    assert list(ready(records, "t", 100.0)) == (["v2-1"] if is_ready else [])
    assert list(ready(records, "elsewhere", 100.0)) == []


def test_what_is_told_after_the_end_is_taken_too(records: Records) -> None:
    """Nobody waits for an answer that does not come."""
    with records.transaction() as db:
        db.execute(sa.update(ROLLOUTS).values(ended=True, due=50.0))
    assert list(ready(records, "t", 100.0)) == []
    records.command("p", "v2-1", Commanded(at=2.0, action="pause", actor="ann"))
    assert list(ready(records, "t", 100.0)) == ["v2-1"]


def test_a_turn_that_is_not_kept_was_not_taken(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong while it is written takes all of it back; it is taken anew from the same event."""
    tell_checked(records)
    keep = rows.keep

    def failing(*arguments: object) -> None:
        keep(*arguments)  # type: ignore[arg-type]
        raise sa.exc.OperationalError("insert", {}, OSError("disk full"))

    memory = Memory()
    monkeypatch.setattr(rows, "keep", failing)
    with pytest.raises(sa.exc.OperationalError):
        take_turn(records, memory, "v2-1", 2.0)
    assert (records.state("v2-1").head.turn, memory.states, len(records.unplaced("t"))) == (1, {}, 0)
    monkeypatch.setattr(rows, "keep", keep)
    turns(records, memory)
    assert [asked.key.split(":", 1)[1] for asked in records.unplaced("t")] == ["a.storage:forward:1"]
