"""Which of what waits for an engine is next; queues are polled often where there is something to begin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from dbos import Queue

from cellwave.rollout.beats import Worker
from cellwave.rollout.model import first_state
from cellwave.rollout.queues import ENGINES, IDLE_SECONDS, LOOKS, POLL_SECONDS, SELDOM_SECONDS, Queues
from cellwave.rollout.records import Records
from tests.rollout.plans import plan

SEAT = "seat:here"
SECONDS = 120.0


class Polled:
    """A queue as DBOS keeps it, for all hosts."""

    polling_interval_sec = POLL_SECONDS
    written = 0

    def set_polling_interval_sec(self, value: float) -> None:
        """From the next poll on."""
        self.polling_interval_sec = value
        self.written += 1


@pytest.fixture
def polled() -> dict[str, Polled]:
    """The queues of a worker that was just launched."""
    return {ENGINES: Polled(), LOOKS: Polled(), SEAT: Polled()}


@pytest.fixture
def queues(polled: dict[str, Polled]) -> Queues:
    """That worker's."""
    made = Queues(engines=1)
    made._me, made._seat = Worker(id="here:1:life", seat="here", target="t"), SEAT
    made._queues = {name: cast(Queue, queue) for name, queue in polled.items()}
    made._polls = dict.fromkeys(polled, POLL_SECONDS)
    return made


def test_an_idle_worker_polls_seldom_and_writes_nothing(
    database_url: str, queues: Queues, polled: dict[str, Polled]
) -> None:
    """What was taken over at the start has begun; no rollout is under way."""
    records = Records(database_url)
    for _ in range(3):
        queues.place(records, "t")
        queues.take_up(records)
    assert polled[ENGINES].polling_interval_sec == IDLE_SECONDS
    assert {polled[name].polling_interval_sec for name in (LOOKS, SEAT)} == {SELDOM_SECONDS}
    assert {queue.written for queue in polled.values()} == {1}


def test_while_a_rollout_is_under_way_on_any_backend_engines_begin_soon(
    database_url: str, queues: Queues, polled: dict[str, Polled]
) -> None:
    """Also where another host, who saw none, has said that nothing is to come."""
    records = Records(database_url)
    records.create_rollout(first_state("v2-1", plan([["a"]])), "ann", "elsewhere", 1.0)
    polled[ENGINES].polling_interval_sec = IDLE_SECONDS
    queues.take_up(records)
    assert polled[ENGINES].polling_interval_sec == POLL_SECONDS


def test_who_comes_in_the_place_of_a_dead_worker_polls_often_at_once(database_url: str) -> None:
    """Though that one had nothing to do, and said so to whoever polls after it."""
    assert [ran("polled", database_url) for _ in range(2)] == [[], [str(POLL_SECONDS)] * 3]


def test_a_preview_waits_for_whatever_changes_something(tmp_path: Path) -> None:
    """Though it was there first."""
    assert ran("one_engine", f"sqlite:///{tmp_path / 'cellwave.db'}") == ["deploy1", "deploy2", "preview0"]


def ran(module: str, url: str) -> list[str]:
    """What a worker of its own process says."""
    ended = subprocess.run(
        [sys.executable, "-m", f"tests.rollout.{module}", url],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert not ended.returncode, ended.stderr
    return ended.stdout.split()
