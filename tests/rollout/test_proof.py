"""When a deployment counts as converged, when as broken, and when nobody can tell. No test here waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import cast

import pytest

from cellwave.deploy.port import Deployer
from cellwave.errors import Fault
from cellwave.health.model import Unreadable
from cellwave.health.ports import SignalSource
from cellwave.release import MANIFEST, Release
from cellwave.rollout.effects import Effects
from cellwave.rollout.model import Prove, first_state
from cellwave.rollout.outbox import Asked
from cellwave.rollout.proof import LONGEST_SECONDS, LOOKS, SECONDS, Unproven, prove
from cellwave.rollout.records import Records
from cellwave.waves.model import Bake, Plan, PlannedWave, Step
from tests.rollout.plans import NEW
from tests.rollout.stores import OneRelease

WANTED, OTHER = "w" * 64, "o" * 64
WRONG = Unreadable(reason="http://x answers 503")
SILENT = Unreadable(reason="http://x did not answer: Connection refused", cause="silence")
NO_WAY = Unreadable(reason="no valid credentials: Name or service not known", cause="way", fault="credential")
Seen = str | Unreadable


class World:
    """A clock that moves by what looks and pauses take, and what the looks see."""

    def __init__(self, seen: Iterator[Seen], look_seconds: float = 0.0) -> None:
        self.now, self.looks, self.pauses = 1000.0, 0, 0
        self._seen, self._look_seconds = seen, look_seconds

    def look(self) -> Seen:
        """See the next thing."""
        self.looks += 1
        self.now += self._look_seconds
        return next(self._seen)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        assert seconds > 0
        self.pauses += 1
        self.now += seconds

    def prove(self, aborted: Callable[[], bool] = lambda: False) -> Unproven | None:
        """Look until it is proven or over."""
        return prove(WANTED, self.look, aborted=aborted, clock=lambda: self.now, sleep=self.sleep)

    @property
    def waited(self) -> float:
        """Seconds since the beginning."""
        return self.now - 1000.0


def test_what_is_there_at_once_needs_one_look_and_no_wait() -> None:
    """Most deployments."""
    world = World(iter([WANTED]))
    assert world.prove() is None
    assert (world.looks, world.pauses) == (1, 0)


@pytest.mark.parametrize("before", [OTHER, WRONG, SILENT, NO_WAY])
def test_what_comes_late_is_proven_all_the_same(before: Seen) -> None:
    """Whatever was seen before it."""
    seen: list[Seen] = [*repeat(before, 40), WANTED]
    assert World(iter(seen)).prove() is None


def test_quick_looks_are_given_up_after_the_seconds() -> None:
    """However many they were."""
    world = World(repeat(OTHER))
    missing = world.prove()
    assert missing is not None
    assert f"expected {WANTED[:12]}, it runs {OTHER[:12]}" in missing.reason
    assert missing.fault == "release"
    assert SECONDS < world.waited < SECONDS + 1
    assert world.looks > LOOKS


def test_slow_looks_are_given_up_after_their_number() -> None:
    """A machine that takes ten seconds for a look gets as many looks as a quick one gets seconds for."""
    world = World(repeat(WRONG), look_seconds=10)
    assert world.prove() is not None
    assert world.looks == LOOKS
    assert world.waited > LOOKS * 10


def test_no_proof_is_waited_for_longer_than_that() -> None:
    """Looks that take a minute are given up before they are as many."""
    world = World(repeat(WRONG), look_seconds=60)
    assert world.prove() is not None
    assert world.looks < LOOKS
    assert LONGEST_SECONDS < world.waited <= LONGEST_SECONDS + 61


def test_the_last_moment_counts() -> None:
    """A look that begins in time and sees it, has seen it."""
    seen: list[Seen] = [*repeat(WRONG, LOOKS - 1), WANTED]
    assert World(iter(seen), look_seconds=10).prove() is None


def test_a_call_off_ends_it_after_a_look() -> None:
    """A person's rollback waits for no proof."""
    world = World(repeat(OTHER))
    assert world.prove(aborted=lambda: True) is not None
    assert world.looks == 1


def test_a_release_that_does_not_listen_fails_and_the_doubt_is_told() -> None:
    """It condemns, as silence is what a broken release gives; whoever reads the hold's reason learns what was seen."""
    missing = World(repeat(SILENT)).prove()
    assert missing is not None
    assert missing.fault == "release"
    assert "Connection refused" in missing.reason
    assert "nothing ever answered" in missing.reason


def test_a_release_that_answered_once_is_not_said_to_be_out_of_reach() -> None:
    """There is a way to it."""
    seen: list[Seen] = [WRONG, *repeat(SILENT, 999)]
    missing = World(iter(seen)).prove()
    assert missing is not None
    assert missing.fault == "release"
    assert "nothing ever answered" not in missing.reason


@pytest.mark.parametrize("seen", [repeat(NO_WAY), chain(repeat(OTHER, 20), repeat(NO_WAY))])
def test_a_machine_that_cannot_even_ask_blames_no_release(seen: Iterator[Seen]) -> None:
    """No name, no network, no credential: worth another try, then a person's look, and no hold."""
    missing = World(seen).prove()
    assert missing is not None
    assert missing.fault == "credential"
    assert "Name or service not known" in missing.reason


def test_a_name_that_resolves_again_is_judged_by_what_answers() -> None:
    """A hiccup of the resolver excuses no broken release."""
    missing = World(chain(repeat(NO_WAY, 20), repeat(WRONG))).prove()
    assert missing is not None
    assert missing.fault == "release"


FLEET = 'services: {app: {program: app, code: [app], proof: {http: "{outputs[url]}"}}}\n'
REGION = """
region: one
endpoint: one.example
residency: here
cells: [{name: a, account: "100000000001", aws_region: us-east-1}]
"""
STEP = Step(cell="a", service="app", release=NEW, previous=None)
PROVE = Prove(step=STEP, attempt=1, back=False)


@pytest.mark.parametrize(
    ("seen", "converged", "fault", "said"),
    [
        (WANTED, True, None, ""),
        (OTHER, False, "release", f"it runs {OTHER[:12]}"),
        (SILENT, False, "release", "nothing ever answered"),
        (NO_WAY, False, "credential", "says nothing of the release"),
    ],
)
def test_a_rollout_hears_what_the_proof_came_to(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    seen: Seen,
    converged: bool,
    fault: Fault | None,
    said: str,
) -> None:
    """What a deployment ended with decides whether it is tried again, waits for a person, or goes back."""
    for name, text in {"cells/fleet.yaml": FLEET, "cells/one.yaml": REGION}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / MANIFEST).write_text(Release(version="v2", files={}, code={"app": WANTED}).model_dump_json())
    records = Records(f"sqlite:///{tmp_path / 'db'}")
    waves = (PlannedWave(number=1, name="w", steps=(STEP,), concurrency=1, bake=Bake()),)
    made = Plan(release=NEW, version="v2", waves=waves)
    row = records.create_rollout(first_state("v2-1", made), "ann", "t", 1.0)
    asked = Asked(
        key="v2-1.k:a.app:forward:1:prove", rollout=row.id, effect=PROVE, at=1.0, round=0, undo_since=0.0
    )
    monkeypatch.setattr(records, "abort_asked", lambda attempt, _: attempt == "v2-1.k:a.app:forward:1")
    monkeypatch.setattr("cellwave.rollout.effects.observe_digest", lambda _proof, _scope: seen)
    ports = (cast(Deployer, None), cast(SignalSource, None))
    event = Effects(tmp_path, "t", records, OneRelease(tmp_path), *ports).prove(asked, PROVE)
    assert (event.failure is None) == converged
    if event.failure:
        assert event.failure.fault == fault
        assert said in event.failure.reason
