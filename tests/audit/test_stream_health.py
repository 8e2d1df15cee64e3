"""How a stream is, by what its destination answered and when. No clock, no network."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.handlers.stream.health import (
    DAY,
    DEAD_AFTER,
    LONGEST_ASKED,
    LONGEST_WAIT,
    REFUSED_FOR,
    Failure,
    Health,
)

NOON = 1_740_000_000.0
HOUR = 3600.0
FAILED, REFUSED = Failure("answered 500: no"), Failure("answered 410: gone", final=True)
WELL = Health().well(NOON)


def test_a_stream_is_tested_before_anything_else() -> None:
    """It is active when that arrived, and otherwise waits for a person."""
    assert Health().state(NOON) == "testing"
    assert Health().is_due(NOON)
    assert WELL.state(NOON) == "active"
    wrong = Health().failed(FAILED, NOON, 0)
    assert (wrong.state(NOON + DAY), wrong.is_due(NOON + DAY)) == ("unverified", False)
    assert wrong.error == "answered 500: no"


@pytest.mark.parametrize(
    ("failure", "after", "state"),
    [
        (FAILED, 0, "failing"),
        (FAILED, DEAD_AFTER - 1, "failing"),
        (FAILED, DEAD_AFTER, "dead"),
        (REFUSED, REFUSED_FOR - 1, "failing"),
        (REFUSED, REFUSED_FOR, "dead"),
    ],
)
def test_what_fails_is_tried_for_seven_days_and_what_is_refused_for_six_hours(
    failure: Failure, after: float, state: str
) -> None:
    """Then it is dead, which is told of once, and nothing more is sent."""
    health = WELL.failed(failure, NOON, 0)
    assert health.state(NOON + after) == state
    assert health.is_due(NOON + after) == (after > 0)
    told = replace(health, reported=NOON)
    assert told.is_due(NOON + after) == (state == "failing" and after > 0)


def test_a_refusal_counts_from_the_first_of_a_row() -> None:
    """Another failure in between says that the destination is there."""
    health = WELL
    for hour in (0, 5):
        health = health.failed(REFUSED, NOON + hour * HOUR, 0)
    assert health.state(NOON + REFUSED_FOR) == "dead"
    again = health.failed(FAILED, NOON + 5 * HOUR, 0).failed(REFUSED, NOON + 5 * HOUR, 0)
    assert again.state(NOON + REFUSED_FOR) == "failing"


def test_whatever_arrives_makes_it_well() -> None:
    """Its failures are over."""
    health = WELL.failed(REFUSED, NOON, 0).failed(FAILED, NOON + 60, 0).well(NOON + 90)
    assert health == Health(verified=NOON, sent=NOON + 90)


def test_the_waits_double_with_luck_up_to_an_hour() -> None:
    """The second half of each is luck, so that many do not come back at once."""
    health, waits = WELL, []
    for _ in range(12):
        health = health.failed(FAILED, NOON, 1.0)
        waits.append(health.due - NOON)
    assert waits[:4] == [15, 30, 60, 120]
    assert waits[-1] == LONGEST_WAIT
    assert WELL.failed(FAILED, NOON, 0.0).due == NOON + 7.5


def test_who_is_asked_to_wait_waits_so_long_within_reason() -> None:
    """By Retry-After."""
    assert WELL.failed(Failure("429", wait=500), NOON, 0).due == NOON + 500
    assert WELL.failed(Failure("429", wait=1), NOON, 1).due == NOON + 15
    assert WELL.failed(Failure("429", wait=9e9), NOON, 0).due == NOON + LONGEST_ASKED


def test_a_paused_stream_sends_nothing_until_it_is_resumed_with_a_test() -> None:
    """Also what failed, or was dead."""
    for before in (WELL, WELL.failed(REFUSED, NOON, 0), Health()):
        paused = Health(**{**before.__dict__, "paused": NOON})
        assert (paused.state(NOON + 9 * DAY), paused.is_due(NOON + 9 * DAY)) == ("paused", False)
        assert paused.resumed().state(NOON) == "testing"


@given(st.lists(st.sampled_from([FAILED, REFUSED, None]), max_size=30), st.floats(0, 1))
def test_whatever_is_answered_a_stream_that_once_was_well_is_never_forgotten(
    answers: list[Failure | None], luck: float
) -> None:
    """It is due again within six hours, or it is dead and says why."""
    health, now = WELL, NOON
    for failure in answers:
        health = health.failed(failure, now, luck) if failure else health.well(now)
        now = max(now, health.due)
        state = health.state(now)
        assert state in ("active", "failing", "dead")
        assert health.is_due(now) or (state == "dead" and health.error)
        assert health.due - now <= LONGEST_ASKED
