"""A stack that an engine of somebody else's holds."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from cellwave.deploy.port import Job, Progress, Result
from cellwave.health.ports import SignalSource
from cellwave.rollout import effects
from cellwave.rollout.effects import Effects
from cellwave.rollout.model import Deploy
from cellwave.rollout.outbox import Asked
from cellwave.rollout.records import Records
from tests.rollout.stores import OneRelease
from tests.rollout.test_proof import FLEET, REGION, STEP


class Held:
    """Finds the stack held by another host, or by this one, for its first runs."""

    def __init__(self, *, elsewhere: bool, runs: int) -> None:
        self._held = Result(outcome="locked", owner="bob@there (pid 1)", elsewhere=elsewhere, reason="held")
        self._runs = runs
        self.ran = 0

    def run(self, job: Job, *, progress: Callable[[Progress], None], aborted: Callable[[], bool]) -> Result:
        """See Deployer."""
        self.ran += 1
        return self._held if self.ran <= self._runs else Result(outcome="succeeded")


@pytest.mark.parametrize(
    ("back", "elsewhere", "ran"), [(True, True, 1), (True, False, 3), (False, True, 3), (False, False, 3)]
)
def test_only_a_way_back_does_not_wait_for_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, back: bool, elsewhere: bool, ran: int
) -> None:
    """Who holds the stack there is told at once; anybody else's engine is given a minute."""
    for name, text in {"cells/fleet.yaml": FLEET, "cells/one.yaml": REGION}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(effects, "LOCK_POLL_SECONDS", 0.0)
    deployer, records = Held(elsewhere=elsewhere, runs=2), Records(f"sqlite:///{tmp_path / uuid.uuid4().hex}")
    deploy = Deploy(step=STEP, attempt=1, back=back)
    asked = Asked(
        key="v2-1.k:a.app:forward:1", rollout="v2-1", effect=deploy, at=1.0, round=0, undo_since=0.0
    )
    made = Effects(tmp_path, "t", records, OneRelease(tmp_path), deployer, cast(SignalSource, None))
    result = made.deploy(asked, deploy)
    assert (result.outcome, deployer.ran) == ("locked" if ran == 1 else "succeeded", ran)
