"""Which cells are a release's control group: those that the records say run the release before, and no other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from cellwave.deploy.port import Deployer
from cellwave.errors import Unavailable
from cellwave.health.model import AlarmReading, Reading
from cellwave.health.ports import SignalSource, Wanted
from cellwave.rollout.effects import Effects
from cellwave.rollout.model import Leg, Position, State, Track, first_state
from cellwave.rollout.records import Records, StackRow
from cellwave.waves.model import Bake
from tests.rollout.plans import NEW, OLD, plan
from tests.rollout.stores import OneRelease

FLEET = """
services:
  storage: {program: app}
  ingest: {program: app, needs: [storage]}
  query:
    program: app
    needs: [storage]
    signals: {alarm: {kind: alarm, name: "{cell}-query"}}
"""
REGION = """
region: eu
endpoint: eu.example
residency: EU
cells:
"""
CELLS = ("a", "b", "c", "d", "e")


class Reds(SignalSource):
    """Every alarm is red since just now; remembers whose was read."""

    def __init__(self) -> None:
        self.read_of: list[str] = []
        self.since: list[float] = []
        self.state = "ALARM"

    def read(self, wanted: Sequence[Wanted]) -> list[Reading]:
        """See SignalSource."""
        self.read_of += [one.scope.cell for one in wanted]
        self.since += [one.since for one in wanted]
        return [AlarmReading(state=self.state, since=time.time() + 60)] * len(wanted)


class NoDeployer(Deployer):
    """Nothing is deployed here."""


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    """Effects on a release whose fleet is five cells."""
    store = OneRelease(tmp_path / "release")
    cells = tmp_path / "release" / "cells"
    cells.mkdir(parents=True)
    (cells / "fleet.yaml").write_text(FLEET)
    lines = [
        f'  - {{name: {name}, account: "20000000000{n}", aws_region: eu-west-1}}\n'
        for n, name in enumerate(CELLS)
    ]
    (cells / "eu.yaml").write_text(REGION + "".join(lines))
    records = Records(f"sqlite:///{tmp_path / 'cellwave.db'}")
    return Effects(tmp_path, "t", records, store, NoDeployer(), Reds())  # type: ignore[abstract]


def baking(more: Mapping[str, Track] = MappingProxyType({})) -> State:
    """A rollout whose first wave, cell a, bakes."""
    made = plan([["a"], ["b", "c", "d", "e"]], bake=Bake(seconds=1, samples=1))
    done = Track(phase="converged", attempt=1, at=1.0, changed=True)
    tracks = {f"a.{service}": done for service in ("storage", "ingest", "query")}
    return State(first_state("r", made).head, Leg.of(made, Position(stage="baking"), tracks | dict(more)))


def read_beside(
    effects: Effects, stacks: dict[str, str], *, known: bool = True, state: State | None = None
) -> set[str]:
    """Whose alarms were read beside that of cell a, when these cells run these releases."""
    for cell, release in {"a": NEW, **stacks}.items():
        effects.records.set_stack(StackRow(f"{cell}.query", "t", release, {}, 1.0, known or cell == "a"))
    assert isinstance(effects.signals, Reds)
    effects.signals.read_of.clear()
    effects.looks.during(state or baking())
    assert "a" in effects.signals.read_of
    return set(effects.signals.read_of) - {"a"}


def test_only_cells_known_to_run_the_release_before_are_compared_with(effects: Effects) -> None:
    """Not one that runs this very release, or a third one, or of which nothing is recorded."""
    assert read_beside(effects, {"b": OLD, "c": NEW, "d": "x" * 64}) == {"b"}


def test_a_cell_that_an_attempt_left_in_doubt_is_no_control(effects: Effects) -> None:
    """The release before was the last that was proven there; what runs now nobody knows."""
    assert read_beside(effects, {"b": OLD}, known=False) == set()


def test_a_release_that_is_held_is_no_control(effects: Effects) -> None:
    """It was found to be bad: that it does the same excuses nobody."""
    effects.store.hold(OLD, "customers saw errors", "before")
    assert read_beside(effects, {"b": OLD}) == set()


def test_a_store_that_is_away_makes_no_control(effects: Effects, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether the release before is held; the gate is judged all the same."""

    def away(_digest: str) -> None:
        raise Unavailable("the store is away")

    monkeypatch.setattr(effects.store, "held", away)
    assert read_beside(effects, {"b": OLD}) == set()


def test_a_cell_that_this_rollout_is_changing_is_no_control(effects: Effects) -> None:
    """Its engine is at work, or has left it half-changed, though the records still have the release before."""
    for phase in ("running", "proving", "failed"):
        state = baking({"b.query": Track(phase=phase, attempt=1, at=1.0, changed=phase == "failed")})
        assert read_beside(effects, {"b": OLD, "c": OLD}, state=state) == {"c"}


def test_a_stack_on_which_nothing_was_ever_proven_is_no_control(effects: Effects) -> None:
    """Something is there, and nobody knows whether it was ever good."""
    effects.records.set_stack(StackRow("b.query", "t", None, {}, 1.0, True))
    assert read_beside(effects, {"c": OLD}) == {"c"}


def test_the_control_group_is_looked_for_only_where_a_gate_would_fail(effects: Effects) -> None:
    """A healthy look asks nobody about it."""
    assert isinstance(effects.signals, Reds)
    effects.signals.state = "OK"
    effects.store.hold(OLD, "so that asking would be seen", "before")
    assert read_beside(effects, {"b": OLD}) == set()
    assert effects.signals.read_of == ["a"]


def test_a_clock_that_was_ahead_when_a_cell_converged_does_not_blind_its_gates(effects: Effects) -> None:
    """It was put back by two hours since: what converged did so before the bake began."""
    late = Track(phase="converged", attempt=1, at=time.time() + 7200, changed=True)
    read_beside(effects, {}, state=baking({"a.query": late}))
    assert isinstance(effects.signals, Reds)
    assert effects.signals.since[0] <= time.time()


def test_a_cell_in_which_all_was_kept_is_not_watched(effects: Effects) -> None:
    """Nothing there is of the release; with one deployment that was not, all of the cell is watched."""
    state = baking()
    (first, second), kept = state.forward.plan.waves, {"a.storage", "a.ingest", "a.query"}
    for names, seen in ((kept, []), (kept - {"a.ingest"}, ["a"])):
        steps = tuple(
            s.model_copy(update={"kept": "x"} if s.deployment in names else {}) for s in first.steps
        )
        waves = (first.model_copy(update={"steps": steps}), second)
        leg = Leg.of(
            state.forward.plan.model_copy(update={"waves": waves}),
            Position(stage="baking"),
            state.forward.tracks,
        )
        effects.records.set_stack(StackRow("a.query", "t", NEW, {}, 1.0))
        effects.looks.during(State(state.head, leg))
        assert isinstance(effects.signals, Reds)
        assert effects.signals.read_of == seen


def test_a_cell_that_somebody_else_is_changing_is_no_control(effects: Effects) -> None:
    """What it runs in this minute is not known."""
    effects.records.lease(["c"], "another")
    assert read_beside(effects, {"b": OLD, "c": OLD}) == {"b"}
