"""Who lives, and whose an effect is: told by rows that are renewed, and by no clock of another machine."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import NoReturn

import pytest
import sqlalchemy as sa

from cellwave.deploy.fence import is_over
from cellwave.errors import Leased, Unavailable
from cellwave.rollout.beats import (
    Beating,
    Pace,
    Worker,
    beats,
    dead_hosts,
    enter,
    holding,
    leave,
    living,
    new_command,
    new_worker,
    renew,
    take_for_dead,
    unattended_since,
)
from cellwave.rollout.loop import take_turns
from cellwave.rollout.model import Checked, first_state
from cellwave.rollout.outbox import Asked
from cellwave.rollout.records import Records, StackRow
from cellwave.rollout.rows import Memory
from cellwave.rollout.tables import INBOX, WORKERS
from tests.rollout.plans import plan

TARGET = "s3://state"
END = Checked(at=5.0, look=1, problems=())


@pytest.fixture
def records(database_url: str) -> Records:
    """A database in which a rollout wants its first effect performed."""
    records = Records(database_url)
    records.create_rollout(first_state("v2-1", plan([["a"]])), "ann", TARGET, time.time())
    take_turns(records, Memory(), TARGET, time.time())
    return records


@pytest.fixture
def wanted(records: Records) -> Asked:
    """That effect."""
    [asked] = records.unplaced(TARGET)
    return asked


def worker_of(host: str, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker of a host of that name, with a life of its own."""
    monkeypatch.setenv("CELLWAVE_HOST", host)
    return new_worker(Path("/home"), TARGET)


@pytest.fixture
def pair(records: Records, monkeypatch: pytest.MonkeyPatch) -> tuple[Worker, Worker]:
    """Workers of two hosts, both entered."""
    ann, bob = worker_of("ann", monkeypatch), worker_of("bob", monkeypatch)
    for worker in (ann, bob):
        enter(records, worker)
    return ann, bob


def told(records: Records, asked: Asked) -> bool:
    """Whether the end of an effect lies in its rollout's inbox."""
    with records.engine.connect() as db:
        return db.execute(sa.select(INBOX).where(INBOX.c.key == asked.key)).first() is not None


def dead(records: Records, worker: Worker) -> None:
    """The worker has not been heard of for a whole lease."""
    assert take_for_dead(records, {worker.id: beats(records, TARGET)[worker.id]}) == [worker.id]


def test_an_effect_is_one_living_workers(
    records: Records, wanted: Asked, pair: tuple[Worker, Worker]
) -> None:
    """Another one does not begin it beside, nor tell its end."""
    ann, bob = pair
    assert records.begin(wanted.key, ann.id) is not None
    assert records.begin(wanted.key, bob.id) is None
    records.finish(wanted, END, bob.id)
    assert not told(records, wanted)
    assert records.begin(wanted.key, ann.id) is not None, "after its own death and return"
    records.finish(wanted, END, ann.id)
    assert told(records, wanted)
    assert records.begin(wanted.key, ann.id) is None, "it is done"


def test_who_is_late_counts_no_round_back(records: Records, wanted: Asked) -> None:
    """Two hosts see that a queue was given an effect in vain: a workflow's name is used once."""
    assert records.placed_again(wanted)
    [again] = records.unplaced(TARGET)
    assert records.placed_again(again)
    assert not records.placed_again(wanted)
    [now] = records.unplaced(TARGET)
    assert (again.round, now.round) == (1, 2)
    assert len({asked.workflow for asked in (wanted, again, now)}) == 3


def test_what_has_ended_since_is_not_performed_again(
    records: Records, wanted: Asked, pair: tuple[Worker, Worker]
) -> None:
    """Who looked before it began sees a workflow that is over, and an effect that nobody owned."""
    ann, _ = pair
    assert records.begin(wanted.key, ann.id)
    records.finish(wanted, END, ann.id)
    assert not records.placed_again(wanted)


def test_who_was_taken_for_dead_begins_and_tells_nothing_any_more(
    records: Records, wanted: Asked, pair: tuple[Worker, Worker]
) -> None:
    """Frozen past its lease, it wakes when another has its work: that one's end counts."""
    ann, bob = pair
    assert records.begin(wanted.key, ann.id)
    dead(records, ann)
    assert not renew(records, ann)
    assert records.begin(wanted.key, ann.id) is None
    records.finish(wanted, END, ann.id)
    assert not told(records, wanted)
    assert records.begin(wanted.key, bob.id) is not None
    records.finish(wanted, END, bob.id)
    assert told(records, wanted)


def test_a_beat_in_the_last_moment_counts(records: Records, pair: tuple[Worker, Worker]) -> None:
    """Who has renewed its row since it was looked at lives."""
    ann, _ = pair
    seen = beats(records, TARGET)
    time.sleep(0.01)
    assert renew(records, ann)
    assert take_for_dead(records, {ann.id: seen[ann.id]}) == []
    assert renew(records, ann)


def test_the_next_worker_of_a_seat_has_what_the_one_before_had(
    records: Records, wanted: Asked, pair: tuple[Worker, Worker]
) -> None:
    """There is one at a time, so no lease is waited for; nobody else gets it in between."""
    ann, bob = pair
    assert records.begin(wanted.key, ann.id)
    again = Worker(id=f"{ann.seat}:1:another/life", seat=ann.seat, target=TARGET)
    enter(records, again)
    assert records.begin(wanted.key, bob.id) is None
    found = records.begin(wanted.key, again.id)
    assert found
    assert found.owner == again.id
    assert records.begin(wanted.key, ann.id) is None
    assert beats(records, TARGET).keys() == {again.id, bob.id}


def test_silence_is_judged_by_who_has_watched_it(
    records: Records, pair: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is old by any clock at the first look is not yet silent; one that stays as it is for a lease is."""
    ann, bob = pair
    with records.transaction() as db:
        db.execute(sa.update(WORKERS).where(WORKERS.c.id == ann.id).values(beat=5.0))
    now = 1000.0
    monkeypatch.setattr("cellwave.rollout.beats.since_boot", lambda: now)
    watching = Beating(records, bob, lambda: None, pace=Pace(lease=30.0))
    for at, silent in ((1000.0, {}), (1030.0, {}), (1030.1, {ann.id: 5.0})):
        now = at
        watching._beat()
        assert watching.silent() == silent
    renew(records, ann)
    watching._beat()
    assert watching.silent() == {}


def test_a_worker_that_was_taken_for_dead_knows_it_at_its_next_beat(
    records: Records, pair: tuple[Worker, Worker]
) -> None:
    """Then it leaves."""
    ann, _ = pair
    beating = Beating(records, ann, lambda: None)
    beating._beat()
    assert not beating.lost
    dead(records, ann)
    beating._beat()
    assert beating.lost


def test_engines_may_run_for_as_long_as_beats_are_kept(
    records: Records, pair: tuple[Worker, Worker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline counts from the start of the last beat that was kept; one that was not moves nothing."""
    ann, _ = pair
    file = tmp_path / "until"
    monkeypatch.setattr("cellwave.rollout.beats.since_boot", lambda: 100.0)
    beating = Beating(records, ann, lambda: None, file, Pace(fence=15.0))
    beating._beat()
    assert float(file.read_text()) == 115.0
    monkeypatch.setattr("cellwave.rollout.beats.since_boot", lambda: 110.0)
    dead(records, ann)
    beating._beat()
    assert float(file.read_text()) == 115.0


def test_a_dead_workers_host_is_known_with_the_time_of_its_last_engine(
    records: Records, pair: tuple[Worker, Worker]
) -> None:
    """A lock of that host from before then may be broken, also when the next worker of the seat is there already."""
    (ann, bob), at = pair, time.time()
    with records.transaction() as db:
        db.execute(sa.update(WORKERS).where(WORKERS.c.id == ann.id).values(host="a.example", beat=at))
        db.execute(sa.update(WORKERS).where(WORKERS.c.id == bob.id).values(host="b.example"))
    assert dead_hosts(records, TARGET) == {}
    dead(records, ann)
    assert dead_hosts(records, TARGET, Pace(lease=30.0)) == {"a.example": at + 30.0}
    enter(records, Worker(id=f"{ann.seat}:1:another/life", seat=ann.seat, target=TARGET))
    leave(records, ann)
    assert dead_hosts(records, TARGET, Pace(lease=30.0)) == {"a.example": at + 30.0}


def test_since_when_nobody_is_there(records: Records, pair: tuple[Worker, Worker]) -> None:
    """Since the last one left, or was last heard of."""
    ann, bob = pair
    assert set(living(records, TARGET)) == {ann.id, bob.id}
    assert unattended_since(records, "s3://other") is None
    leave(records, ann)
    assert living(records, TARGET) == [bob.id]
    before = unattended_since(records, TARGET)
    leave(records, bob)
    assert living(records, TARGET) == []
    after = unattended_since(records, TARGET)
    assert before
    assert after
    assert before <= after <= time.time() + 60


def test_who_leaves_while_an_engine_runs_is_followed_by_its_own_seat(
    records: Records, wanted: Asked, pair: tuple[Worker, Worker]
) -> None:
    """Its row stays until the lease has run out: nobody begins beside an engine that still runs."""
    ann, bob = pair
    assert records.begin(wanted.key, ann.id)
    leave(records, ann)
    assert records.begin(wanted.key, bob.id) is None
    dead(records, ann)
    assert records.begin(wanted.key, bob.id) is not None


def test_a_folder_is_one_hosts_state_backend(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hosts have two folders of one name: what one has deployed the other knows nothing of."""
    for host in ("ann", "bob"):
        monkeypatch.setenv("CELLWAVE_HOST", host)
        worker = new_worker(Path("/home"), "file:///state")
        if host == "ann":
            enter(records, worker)
            continue
        with pytest.raises(Unavailable, match="ann works on its own"):
            enter(records, worker)


def command_of(host: str, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A command of ann's on a host of that name."""
    monkeypatch.setenv("CELLWAVE_HOST", host)
    made = new_command("ann", "s3://another")
    monkeypatch.setenv("CELLWAVE_HOST", "bob")
    return made


def test_the_cells_of_a_command_that_is_not_heard_of_are_free(
    records: Records, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It lives by the rule of workers, whatever its state backend; what it does when it wakes counts no more."""
    command, file = command_of("ann", monkeypatch), tmp_path / "until"
    records.set_stack(StackRow("c.app", command.target, "one", {}, 1.0))
    with holding(records, ["c"], command, file, Pace(beat=600)):
        assert not is_over(str(file))
        seen = beats(records, TARGET)[command.id]
        assert renew(records, command)
        assert take_for_dead(records, {command.id: seen}) == [], "it lives"
        with pytest.raises(Leased):
            records.lease(["c"], "v3-1")
        dead(records, command)
        assert dead_hosts(records, command.target).keys() == {socket.gethostname()}, (
            "its engine's lock may be broken"
        )
        records.lease(["c"], "v3-1")
        assert not records.forget_stack("c.app", command.target, command.id)
    assert records.leases()["c"] == "v3-1"
    assert "c.app" in records.stacks(command.target)


def test_a_command_gives_its_cells_back_when_it_ends(
    records: Records, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing of it is left, and no engine of it may run; it is no worker that others would count on."""
    command, file = command_of("ann", monkeypatch), tmp_path / "until"
    for deadline in (file, None):
        with holding(records, ["c"], command, deadline, Pace(beat=600)):
            assert records.leases()["c"] == command.id
            assert (command.id in beats(records, TARGET)) == (deadline is not None)
            assert living(records, command.target) == []
            assert unattended_since(records, command.target) is None
            assert records.forget_stack("c.app", command.target, command.id)
        assert "c" not in records.leases()
        assert command.id not in beats(records, TARGET)
    assert is_over(str(file))


def test_a_command_that_can_not_give_its_cells_back_ends_all_the_same(
    records: Records, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The database is away: its work is done, and others free the cells when it is not heard of any more."""
    command, file = command_of("ann", monkeypatch), tmp_path / "until"
    with monkeypatch.context() as patch, holding(records, ["c"], command, file, Pace(beat=600)):
        patch.setattr(records, "transaction", gone)
    assert records.leases()["c"] == command.id
    assert is_over(str(file))


def gone() -> NoReturn:
    """A database that is away."""
    raise sa.exc.OperationalError("", {}, ConnectionError("gone"))


def test_a_command_that_gets_no_cell_has_no_row(
    records: Records, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both or neither: a lease without a row would never die."""
    command = command_of("ann", monkeypatch)
    with pytest.raises(Leased), holding(records, ["c", "a"], command, tmp_path / "until"):
        pytest.fail("a is the rollout's")
    assert command.id not in beats(records, TARGET)
    assert "c" not in records.leases()


def test_a_worker_knows_of_the_commands_it_has_to_listen_for(
    records: Records, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It does not leave for want of rollouts while there are any."""
    watching = Beating(records, worker_of("bob", monkeypatch), lambda: None)
    enter(records, watching.me)
    with holding(records, ["c"], command_of("ann", monkeypatch), tmp_path / "until", Pace(beat=600)):
        watching._beat()
        assert watching.hears_commands
    watching._beat()
    assert not watching.hears_commands
