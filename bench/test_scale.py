"""What a large rollout costs in one process, for comparing a change with what was before: see README, "Speed".

Seconds are of processor time. `python -m bench --json` has the figures that there are aims for.
"""

from __future__ import annotations

import time
from io import StringIO
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from rich.console import Console

from bench.decision_cost import Played, plan, play
from cellwave.cli.picture import picture
from cellwave.rollout.glance import glance
from cellwave.rollout.leg import Leg
from cellwave.rollout.records import Records
from cellwave.usecases.views import view_of
from cellwave.waves.model import Plan

CELLS, BEGUN = 10_000, 3_000
pytestmark = pytest.mark.benchmark(timer=time.process_time, max_time=0.5, min_rounds=3)


@pytest.fixture(scope="module", params=[1, 10], ids=["one wave", "ten waves"])
def made(request: pytest.FixtureRequest) -> Plan:
    """A plan of 10,000 cells with three services each."""
    return plan(CELLS, request.param)


def test_a_decision(benchmark: BenchmarkFixture, made: Plan) -> None:
    """One effect ends: what follows is decided."""
    played = play(made)
    played.step()  # the look before the wave
    benchmark.pedantic(Played.step, (played,), rounds=1_000)  # type: ignore[no-untyped-call]


def test_a_state_is_made_of_its_rows(benchmark: BenchmarkFixture, made: Plan) -> None:
    """What a new worker does once."""
    leg = play(made).state.forward
    benchmark(Leg.of, leg.plan, leg.position, leg.tracks)


def test_a_rollout_is_shown(benchmark: BenchmarkFixture, made: Plan, tmp_path: Path) -> None:
    """What `cellwave rollout status` does, and who follows a rollout again and again."""
    played = play(made)
    for _ in range(BEGUN):
        played.step()
    records = Records(f"sqlite:///{tmp_path}/cellwave.db")
    records.create_rollout(played.state, "ann", "t", 1.0)

    def show() -> None:
        seen = view_of(glance(records, played.state.rollout, {}), ())
        Console(file=StringIO(), width=160).print(picture(seen, {}, 1.0))

    benchmark(show)
