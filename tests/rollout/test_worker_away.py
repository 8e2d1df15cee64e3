"""A worker whose database is away for a while is there when it is back."""

from __future__ import annotations

import threading
from typing import cast

import pytest
import sqlalchemy as sa
from dbos import error as dbos

from cellwave.errors import Unavailable
from cellwave.rollout import worker
from cellwave.rollout.beats import Beating, Worker
from cellwave.rollout.queues import Queues
from cellwave.rollout.records import Records
from cellwave.rollout.rows import Memory

NO_ANSWER = sa.exc.OperationalError("select", {}, OSError("no answer"))


class Away:
    """Records that can't be reached for some calls, and queues with nothing in them."""

    def __init__(self, calls: int, error: Exception = NO_ANSWER) -> None:
        self.calls = calls
        self.error = error
        self.wake = threading.Event()

    def ask(self, *_: object) -> bool:
        """Ask the database."""
        self.wake.set()  # nobody waits in this test
        self.calls -= 1
        if self.calls >= 0:
            raise self.error
        return False

    place = take_up = unfinished = ask


def serve(
    away: Away,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception | None = None,
    idle_exit: float | None = None,
) -> None:
    """Let a worker work until the database has answered; `error`: what its being familiar comes to then."""

    def familiar() -> None:
        away.ask()
        if error:
            raise error

    monkeypatch.setattr(worker, "take_turns", away.ask)
    worker.serve(
        cast(Records, away),
        Memory(),
        cast(Queues, away),
        Beating(cast(Records, away), Worker(id="here:1:life", seat="here:1", target="t"), away.wake.set),
        idle_exit,
        stopped=lambda: away.calls < -3,
        familiar=familiar,
        tidy=lambda: None,
    )


@pytest.mark.parametrize("calls", [1, 2, 3, 4, 5, 6, 7])
def test_a_database_that_is_away_for_a_while_ends_no_worker(
    calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever question it leaves without an answer, whether it is the right one among them."""
    away = Away(calls)
    serve(away, monkeypatch)
    assert away.calls < -3


@pytest.mark.parametrize(
    "error",
    [
        dbos.DBOSNonExistentWorkflowError("target", "a"),
        dbos.DBOSQueryTimeoutError(1.0),
        dbos.DBOSException("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_dbos_says_of_it_in_words_of_its_own_does_not_either(
    error: dbos.DBOSException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workflow that was there at one question and is not at the next, for instance."""
    away = Away(1, error)
    serve(away, monkeypatch)
    assert away.calls < -3


def test_one_that_leaves_when_it_is_idle_does_not_while_it_cant_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be rollouts under way: it asks until it is answered, and leaves only then."""
    away = Away(6)
    serve(away, monkeypatch, idle_exit=0.0)
    assert away.calls < 0


def test_another_database_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not for this worker to act on what that says."""
    with pytest.raises(Unavailable):
        serve(Away(3), monkeypatch, Unavailable("another one"))
