"""What the pure parts of a large rollout cost: `pytest bench/test_scale.py`."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.decision_cost import Played, plan, play
from cellwave.rollout.leg import Leg
from cellwave.waves.model import Plan

CELLS = 10_000


@pytest.fixture(params=[1, 10], ids=["one wave", "ten waves"])
def made(request: pytest.FixtureRequest) -> Plan:
    """A plan of 10,000 cells with three services each."""
    return plan(CELLS, request.param)


def test_a_decision(benchmark: BenchmarkFixture, made: Plan) -> None:
    """One effect ends: what follows is decided."""
    played = play(made)
    played.step()  # the look before the wave
    benchmark.pedantic(Played.step, (played,), rounds=1_000)  # type: ignore[no-untyped-call]


def test_a_state_is_made_of_its_rows(benchmark: BenchmarkFixture, made: Plan) -> None:
    """What a new worker does once, and `cellwave rollout status` each time."""
    leg = play(made).state.forward
    benchmark(Leg.of, leg.plan, leg.position, leg.tracks)
