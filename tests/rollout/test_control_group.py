"""Which cells are a release's control group: those that the records say run the release before, and no other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from cellwave.deploy.port import Deployer
from cellwave.health.model import AlarmReading, Reading
from cellwave.health.ports import SignalSource, Wanted
from cellwave.releases.store import DirectoryStore
from cellwave.rollout.effects import Effects
from cellwave.rollout.model import Leg, Position, State, Track, first_state
from cellwave.rollout.records import Records, StackRow
from cellwave.waves.model import Bake
from tests.rollout.plans import NEW, OLD, plan

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

    def read(self, wanted: Sequence[Wanted]) -> list[Reading]:
        """See SignalSource."""
        self.read_of += [one.scope.cell for one in wanted]
        return [AlarmReading(state="ALARM", since=time.time() + 60)] * len(wanted)


class OneRelease(DirectoryStore):
    """Holds the test's fleet, whichever release is asked for."""

    def path(self, digest: str) -> Path:
        """See ReleaseStore."""
        return self._root


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


def baking() -> State:
    """A rollout whose first wave, cell a, bakes."""
    made = plan([["a"], ["b", "c", "d", "e"]], bake=Bake(seconds=1, samples=1))
    done = Track(phase="converged", attempt=1, at=1.0, changed=True)
    tracks = {f"a.{service}": done for service in ("storage", "ingest", "query")}
    return State(first_state("r", made).head, Leg.of(made, Position(stage="baking"), tracks))


def read_beside(effects: Effects, stacks: dict[str, str], *, known: bool = True) -> set[str]:
    """Whose alarms were read beside that of cell a, when these cells run these releases."""
    for cell, release in {"a": NEW, **stacks}.items():
        effects.records.set_stack(StackRow(f"{cell}.query", "t", release, {}, 1.0, known or cell == "a"))
    effects.gates(baking())
    assert isinstance(effects.signals, Reds)
    assert "a" in effects.signals.read_of
    return set(effects.signals.read_of) - {"a"}


def test_only_cells_known_to_run_the_release_before_are_compared_with(effects: Effects) -> None:
    """Not one that runs this very release, or a third one, or of which nothing is recorded."""
    assert read_beside(effects, {"b": OLD, "c": NEW, "d": "x" * 64}) == {"b"}


def test_a_cell_that_an_attempt_left_in_doubt_is_no_control(effects: Effects) -> None:
    """The release before was the last that was proven there; what runs now nobody knows."""
    assert read_beside(effects, {"b": OLD}, known=False) == set()


def test_a_cell_that_somebody_else_is_changing_is_no_control(effects: Effects) -> None:
    """What it runs in this minute is not known."""
    effects.records.lease(["c"], "another")
    assert read_beside(effects, {"b": OLD, "c": OLD}) == {"b"}
