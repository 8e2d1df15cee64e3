"""The gates that this project declares: what excuses each of them, and what doesn't."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
from tests.health.fake import FakeSource

from cellwave.fleet.model import QuantileSignal, RatioReference, RatioSignal
from cellwave.fleet.parse import parse_fleet
from cellwave.health.model import GateResult, Verdict
from cellwave.health.ports import Scope
from cellwave.health.read import Watched, counting, read_gates
from cellwave.health.template import expand
from cellwave.project import find_project
from cellwave.waves.model import Bake

FLEET = parse_fleet(find_project(Path(__file__).parent).config_files())
CELL = "us-west-2"
BAKE = Bake(seconds=10, samples=12, limit=60)
SINCE = 1000.0
EVERYWHERE = [(cell.name, service.name) for cell in FLEET.cells for service in FLEET.services]
COUNTED = [
    (service.name, name)
    for service in FLEET.services
    for name, signal in service.signals.items()
    if isinstance(signal, RatioSignal)
]


def test_every_gate_that_counts_says_what_shows_the_platforms_own_trouble() -> None:
    """Failures are excused by failures and slowness by slowness, of something that runs none of a release's code."""
    of = chain.from_iterable(service.signals.values() for service in FLEET.services)
    signals = [signal for signal in of if isinstance(signal, RatioSignal | QuantileSignal)]
    assert len(signals) > 5
    for signal in signals:
        assert signal.reference is not None
        assert signal.reference.kind == signal.kind
        assert signal.reference.namespace == "Cellwave/Sandbox"


def read(service: str, gate: str, platform_failed: float) -> GateResult:
    """The gate when a third of what the service does fails, and this share of what the reference does."""
    scope = Scope.of(FLEET, CELL, service, {"api_id": "a1", "url": "http://x"})
    signal = expand(FLEET.service(CELL, service).signals[gate], scope, "")
    assert isinstance(signal, RatioSignal)
    assert isinstance(signal.reference, RatioReference)
    source = FakeSource()
    moments = [SINCE + second for second in range(60)]
    source.put(scope, signal.namespace, signal.total, signal.dimensions, [(at, 1.0) for at in moments])
    bad = [(at, 1.0) for at in moments if at % 3 == 0]
    source.put(scope, signal.namespace, signal.bad, signal.dimensions, bad)
    failed = [(at, float(number < 60 * platform_failed)) for number, at in enumerate(moments)]
    spread = sorted(failed, key=lambda point: point[0] % 7)  # its failures are spread over the minute
    points = [(at, value) for at, (_, value) in zip(moments, spread, strict=True)]
    source.put(scope, signal.reference.namespace, signal.reference.bad, {}, points)
    watched, gates = [Watched(scope=scope, since=SINCE)], counting(FLEET, EVERYWHERE)
    results = read_gates(FLEET, watched, source, BAKE, SINCE, gates=gates, now=SINCE + 60)
    return next(result for result in results if result.gate == gate)


@pytest.mark.parametrize(("service", "gate"), COUNTED)
def test_what_fails_where_the_platform_fails_too_is_excused_and_passes_nothing(
    service: str, gate: str
) -> None:
    """A function that times out on a machine under load is an error like any other."""
    found = read(service, gate, 0.5)
    assert (found.verdict, found.excused) == (Verdict.INCONCLUSIVE, True), found.reason


@pytest.mark.parametrize(("service", "gate"), COUNTED)
def test_what_fails_on_a_sound_platform_condemns(service: str, gate: str) -> None:
    """A reference that is there excuses nothing by being there."""
    found = read(service, gate, 0.0)
    assert (found.verdict, found.excused) == (Verdict.FAIL, False), found.reason
