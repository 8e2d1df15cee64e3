"""What the looks of a rollout read: before a wave, while it goes on, and after the way back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from cellwave.fleet.model import AlarmSignal
from cellwave.health.model import AlarmReading, Period, Reading, SeriesReading
from cellwave.health.ports import SignalSource, Wanted
from cellwave.rollout.looks import Looks
from cellwave.rollout.model import Leg, Position, State, Track, first_state
from cellwave.rollout.records import Records, StackRow
from cellwave.waves.model import Bake
from cellwave.waves.planner import make_rollback
from tests.rollout.plans import NEW, plan
from tests.rollout.stores import OneRelease

FLEET = """
services:
  s:
    program: app
    signals:
      alarm: {kind: alarm, name: "{cell}-s"}
      errors: {kind: ratio, namespace: n, bad: errors, total: all, dimensions: {cell: "{cell}"}, at_most: 0.01}
"""
REGION = """
region: eu
endpoint: eu.example
residency: EU
cells:
  - {name: a, account: "200000000001", aws_region: eu-west-1}
  - {name: b, account: "200000000002", aws_region: eu-west-1}
"""
DONE = Track(phase="converged", attempt=1, at=1.0, changed=True)


class Signals(SignalSource):
    """Alarms in a state since a time; a hundred requests in the last minute, and how many of them were bad."""

    def __init__(self, state: str = "OK", bad: float = 0.0) -> None:
        self.state, self.bad = state, bad

    def read(self, wanted: Sequence[Wanted]) -> list[Reading]:
        """See SignalSource."""
        return [self._alarm() if isinstance(one.signal, AlarmSignal) else self._series() for one in wanted]

    def _alarm(self) -> Reading:
        return AlarmReading(state=self.state, since=time.time())

    def _series(self) -> Reading:
        return SeriesReading(periods=(Period(at=time.time() - 5, bad=self.bad, total=100.0),))


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    """A home with two cells whose stacks are known to run the release."""
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "fleet.yaml").write_text(FLEET)
    (tmp_path / "cells" / "eu.yaml").write_text(REGION)
    records = Records(f"sqlite:///{tmp_path / 'cellwave.db'}")
    for cell in "ab":
        records.set_stack(StackRow(f"{cell}.s", "t", NEW, {}, 1.0, True))
    return tmp_path


def looks(ground: Path, signals: Signals) -> Looks:
    """Looks at that."""
    return Looks(ground, "t", Records(f"sqlite:///{ground / 'cellwave.db'}"), OneRelease(ground), signals)


def second_wave() -> State:
    """A rollout that is about to change cell b; cell a runs it already."""
    made = plan([["a"], ["b"]], bake=Bake(seconds=1, samples=1, limit=5), services={"s": ()})
    return State(first_state("r", made).head, Leg.of(made, Position(wave=1, stage="checking"), {"a.s": DONE}))


def gone_back() -> tuple[State, Leg]:
    """The same rollout when cell a runs again what it ran before."""
    state = second_wave()
    back = Leg.of(make_rollback(state.forward.plan, ("a.s",)), Position(stage="restoring"), {"a.s": DONE})
    return State(state.head, state.forward, back), back


def test_before_a_wave_its_own_alarms_and_the_gates_of_earlier_ones_are_read(ground: Path) -> None:
    """Cell b is to be changed next, a was."""
    problems, gates = looks(ground, Signals("ALARM")).before(second_wave())
    assert [problem.split(":")[0] for problem in problems] == ["b.s alarm"]
    assert [(gate.cell, gate.gate) for gate in gates] == [("a", "alarm"), ("a", "errors")]


def test_meanwhile_the_gates_of_all_that_was_changed_are_read(ground: Path) -> None:
    """Of every wave; not of what is still to come."""
    gates = looks(ground, Signals(bad=90.0)).during(second_wave())
    assert [(gate.cell, gate.gate, str(gate.verdict)) for gate in gates] == [
        ("a", "alarm", "PASS"),
        ("a", "errors", "FAIL"),
    ]


def test_after_the_way_back_an_alarm_that_is_red_still_is_a_problem(ground: Path) -> None:
    """Whether it turned red before or after: it is not good again."""
    problems, _ = looks(ground, Signals("ALARM")).after(*gone_back())
    assert [problem.split(":")[0] for problem in problems] == ["a.s alarm"]


@pytest.mark.parametrize(("bad", "verdict"), [(0.0, "PASS"), (90.0, "FAIL")])
def test_after_the_way_back_the_other_gates_of_what_runs_again_are_read(
    ground: Path, bad: float, verdict: str
) -> None:
    """An alarm that is not red any more is good again, and is no gate here."""
    problems, gates = looks(ground, Signals(bad=bad)).after(*gone_back())
    assert not problems
    assert [(gate.cell, gate.gate, str(gate.verdict)) for gate in gates] == [("a", "errors", verdict)]


def test_what_was_taken_away_again_is_not_looked_at(ground: Path) -> None:
    """Nothing is left that could be good."""
    state, back = gone_back()
    removed = back.plan.steps[0].model_copy(update={"removes": True})
    wave = back.plan.waves[0].model_copy(update={"steps": (removed,)})
    gone = Leg.of(back.plan.model_copy(update={"waves": (wave,)}), back.position, {"a.s": DONE})
    assert looks(ground, Signals("ALARM")).after(state, gone) == ((), ())
