"""What a rollout asks of health: is anything red already, and what do the gates of a wave say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import time

from cellwave.errors import BadInput
from cellwave.fleet.model import (
    AlarmSignal,
    Fleet,
    ProbeSignal,
    QuantileSignal,
    RatioSignal,
    Signal,
)
from cellwave.frozen import Frozen
from cellwave.health.cloudwatch import CloudWatchSource
from cellwave.health.http import HttpSource
from cellwave.health.judge import judge_gate
from cellwave.health.model import AlarmReading, GateResult, Reading, SeriesReading, Unreadable, Verdict
from cellwave.health.ports import Scope, SignalSource
from cellwave.health.template import expand
from cellwave.waves.model import Bake

AT_ONCE = 8

Deployment = tuple[str, str]  # cell, service


class LiveSource:
    """Every kind of signal, from AWS and over HTTP; the environment's variables say which AWS."""

    def __init__(self) -> None:
        self._cloudwatch = CloudWatchSource()
        self._http = HttpSource()

    def read(self, signal: Signal, scope: Scope, since: float) -> Reading:
        """See SignalSource."""
        source: SignalSource = self._http if isinstance(signal, ProbeSignal) else self._cloudwatch
        return source.read(signal, scope, since)


class _Gate(Frozen):
    """One signal of one deployment, to be read from `since` (epoch seconds) on. `broken`: why its texts can't be
    filled in."""

    scope: Scope
    name: str
    signal: Signal
    since: float
    broken: str = ""


def open_alarms(fleet: Fleet, scopes: Mapping[Deployment, Scope], source: SignalSource) -> list[str]:
    """In words, the alarms of these deployments that are red or can't be read. One that is not there yet is fine."""
    gates = [
        gate
        for scope in scopes.values()
        for gate in _gates(fleet, scope, 0.0)
        if isinstance(gate.signal, AlarmSignal)
    ]
    return [
        text
        for gate, reading in zip(gates, _read_all(gates, source), strict=True)
        if (text := _red(gate, reading))
    ]


def read_gates(  # noqa: PLR0917 (as many things as a look needs)
    fleet: Fleet,
    deployments: Mapping[Deployment, tuple[Scope, float]],
    control: Mapping[Deployment, Scope],
    source: SignalSource,
    bake: Bake,
    baking_since: float,
) -> list[GateResult]:
    """The verdict on every gate of a wave's deployments, in their order.

    Each deployment comes with the epoch second at which it converged: only newer data counts. `control` are
    deployments that still run the old release, read from `baking_since` on, and only where a gate would FAIL.
    A gate whose text names what its stack does not have is an ERROR: a wave that bakes must not break off.
    """
    gates = [gate for scope, since in deployments.values() for gate in _gates(fleet, scope, since)]
    readings = _read_all(gates, source)
    results = []
    for gate, reading in zip(gates, readings, strict=True):
        result = _judge(gate, reading, None, bake)
        if result.verdict is Verdict.FAIL and isinstance(gate.signal, RatioSignal | QuantileSignal):
            result = _judge(gate, reading, _control(fleet, gate, control, source, baking_since), bake)
        results.append(result)
    return results


def _gates(fleet: Fleet, scope: Scope, since: float) -> list[_Gate]:
    service = fleet.service(scope.cell, scope.service)
    return [_gate(scope, name, signal, since) for name, signal in service.signals.items()]


def _gate(scope: Scope, name: str, signal: Signal, since: float) -> _Gate:
    broken = ""
    try:
        signal = expand(signal, scope, f"services.{scope.service}.signals.{name}")
    except BadInput as error:
        broken = str(error)
    return _Gate(scope=scope, name=name, signal=signal, since=since, broken=broken)


def _read_all(gates: Sequence[_Gate], source: SignalSource) -> list[Reading]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda gate: _read(gate, source), gates))


def _read(gate: _Gate, source: SignalSource) -> Reading:
    if gate.broken:
        return Unreadable(reason=gate.broken)
    return source.read(gate.signal, gate.scope, gate.since)


def _control(
    fleet: Fleet, gate: _Gate, control: Mapping[Deployment, Scope], source: SignalSource, since: float
) -> SeriesReading:
    """The same series of the service's deployments that still run the old release, pooled; what can't be read is left
    out."""
    twins = [
        twin
        for (_, service), scope in control.items()
        if service == gate.scope.service
        for twin in _gates(fleet, scope, since)
        if twin.name == gate.name
    ]
    return _pool(reading for reading in _read_all(twins, source) if isinstance(reading, SeriesReading))


def _pool(readings: Iterable[SeriesReading]) -> SeriesReading:
    found = tuple(readings)
    return SeriesReading(
        total=sum(reading.total for reading in found),
        bad=sum(reading.bad for reading in found),
        values=tuple(value for reading in found for value in reading.values),
    )


def _judge(gate: _Gate, reading: Reading, control: SeriesReading | None, bake: Bake) -> GateResult:
    return judge_gate(
        gate.signal,
        reading,
        control,
        min_samples=bake.samples,
        cell=gate.scope.cell,
        service=gate.scope.service,
        gate=gate.name,
        at=time(),
        since=gate.since,
    )


def _red(gate: _Gate, reading: Reading) -> str:
    place = f"{gate.scope.cell}.{gate.scope.service} {gate.name}"
    match reading:
        case AlarmReading(state="ALARM"):
            return f"{place}: red already ({reading.reason})"
        case Unreadable():
            return f"{place}: {reading.reason}"
    return ""
