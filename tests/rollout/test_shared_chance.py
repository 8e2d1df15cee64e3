"""The gates of a whole rollout share its chance of a false alarm."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from cellwave.health.model import Period, Reading, SeriesReading, Verdict
from cellwave.health.ports import SignalSource, Wanted
from cellwave.rollout.effects import Effects
from cellwave.rollout.model import Leg, Position, State, Track, first_state
from cellwave.rollout.records import Records, StackRow
from cellwave.waves.model import Bake
from tests.rollout.plans import NEW, plan
from tests.rollout.stores import OneRelease
from tests.rollout.test_control_group import NoDeployer

FLEET = """
services:
  storage: {program: app}
  ingest: {program: app}
  query:
    program: app
    signals:
      errors: &errors {kind: ratio, namespace: N, bad: 5xx, total: Count, dimensions: {}, at_most: 0.01}
      more: *errors
"""
REGION = """
region: eu
endpoint: eu.example
residency: EU
cells:
  - {name: a, account: "200000000001", aws_region: eu-west-1}
  - {name: b, account: "200000000002", aws_region: eu-west-1}
  - {name: c, account: "200000000003", aws_region: eu-west-1}
  - {name: d, account: "200000000004", aws_region: eu-west-1}
"""


class Failing(SignalSource):
    """Five of forty requests fail, just now: evidence enough among seven gates, and not among eight."""

    def read(self, wanted: Sequence[Wanted]) -> list[Reading]:
        """See SignalSource."""
        return [SeriesReading(periods=(Period(at=time.time(), bad=5, total=40),)) for _ in wanted]


@pytest.mark.parametrize(
    ("waves", "verdict"),
    [
        ([["a"], ["b", "c"]], Verdict.FAIL),  # six gates
        ([["a"], ["b", "c", "d"]], Verdict.INCONCLUSIVE),  # eight
    ],
)
def test_the_gates_of_all_waves_share_the_chance_of_a_false_alarm(
    tmp_path: Path, waves: list[list[str]], verdict: Verdict
) -> None:
    """Those of waves to come as well: the chance is the whole rollout's."""
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "fleet.yaml").write_text(FLEET)
    (tmp_path / "cells" / "eu.yaml").write_text(REGION)
    records = Records(f"sqlite:///{tmp_path / 'cellwave.db'}")
    records.set_stack(StackRow("a.query", "t", NEW, {}, 1.0, True))
    ports = OneRelease(tmp_path), NoDeployer(), Failing()  # type: ignore[abstract]
    made = plan(waves, bake=Bake(seconds=1, samples=1))
    converged = {"a.query": Track(phase="converged", attempt=1, at=1.0, changed=True)}
    state = State(first_state("r", made).head, Leg.of(made, Position(stage="baking"), converged))
    seen = Effects(tmp_path, "t", records, *ports).looks.during(state)
    assert [gate.verdict for gate in seen] == [verdict, verdict]
