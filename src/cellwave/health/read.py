"""What a rollout asks of health: is anything red already, and what do the gates of a wave say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from cellwave.errors import BadInput
from cellwave.fleet.model import (
    AlarmSignal,
    Fleet,
    ProbeSignal,
    QuantileReference,
    QuantileSignal,
    RatioReference,
    RatioSignal,
    SeriesReference,
    Signal,
)
from cellwave.frozen import Frozen
from cellwave.health.cloudwatch import CloudWatchSource
from cellwave.health.http import HttpSource
from cellwave.health.judge import NOTHING, Evidence, PartEvidence, judge_gate, limit_of
from cellwave.health.model import (
    AlarmPart,
    AlarmReading,
    GateResult,
    ProbeReading,
    Reading,
    SeriesReading,
    Unreadable,
    Verdict,
)
from cellwave.health.ports import Readable, Scope, SignalSource
from cellwave.health.template import expand
from cellwave.health.yardstick import SLICE_SECONDS, Limit, Yardstick
from cellwave.waves.model import Bake

AT_ONCE = 8

Deployment = tuple[str, str]  # cell, service


class Watched(Frozen):
    """A deployment whose gates are read: since when (epoch seconds) it has converged, and its control group, which
    is its service's deployments that are known to run the release before."""

    scope: Scope
    since: float
    control: tuple[Scope, ...] = ()


class LiveSource:
    """Every kind of signal, from AWS and over HTTP; the environment's variables say which AWS."""

    def __init__(self) -> None:
        self._cloudwatch = CloudWatchSource()
        self._http = HttpSource()

    def read(self, signal: Readable, scope: Scope, since: float) -> Reading:
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


def counting(fleet: Fleet, deployments: Iterable[Deployment]) -> int:
    """How many gates of these deployments count data points, and so share a rollout's chance of a false alarm."""
    signals = (signal for place in deployments for signal in fleet.service(*place).signals.values())
    return sum(isinstance(signal, RatioSignal | QuantileSignal) for signal in signals)


def read_gates(
    fleet: Fleet,
    deployments: Sequence[Watched],
    source: SignalSource,
    bake: Bake,
    baking_since: float,
    *,
    gates: int,
    now: float,
) -> list[GateResult]:
    """The verdict on every gate of a wave's deployments, in their order.

    `gates` is how many of the whole rollout's gates count data points (see `counting`), `now` epoch seconds.

    Only data newer than a deployment's convergence counts. Control groups and references are read only where a gate
    would FAIL, and references where it doesn't PASS though the bake has lasted its seconds. A gate whose text names
    what its stack does not have is an ERROR: a wave that bakes must not break off.
    """
    asked = [
        (gate, watched) for watched in deployments for gate in _gates(fleet, watched.scope, watched.since)
    ]
    readings = _read_all([gate for gate, _ in asked], source)
    judge = partial(_judge, bake=bake, gates=gates, at=now)
    results = []
    for (gate, watched), reading in zip(asked, readings, strict=True):
        result = judge(gate, reading, NOTHING)
        late = result.at - baking_since >= bake.seconds and isinstance(reading, SeriesReading)
        if result.verdict is Verdict.FAIL or (result.verdict is Verdict.INCONCLUSIVE and late):
            control = watched.control if result.verdict is Verdict.FAIL else ()
            evidence = _evidence(fleet, gate, reading, control, source)
            result = judge(gate, reading, evidence)
        results.append(result)
    return results


def _evidence(
    fleet: Fleet, gate: _Gate, reading: Reading, control: Sequence[Scope], source: SignalSource
) -> Evidence:
    """What else went on in the same minutes; what can't be read is left out."""
    since = gate.since - SLICE_SECONDS
    twins = [twin for scope in control for twin in _gates(fleet, scope, since) if twin.name == gate.name]
    seen = tuple(reading for reading in _read_all(twins, source) if not isinstance(reading, Unreadable))
    signal = gate.signal
    match signal:
        case AlarmSignal() if isinstance(reading, AlarmReading):
            parts = tuple(_part(part, signal, gate, source) for part in reading.parts)
            return Evidence(twins=seen, parts=parts)
        case ProbeSignal() if signal.reference:
            probe = ProbeSignal(url=signal.reference.url, status=signal.reference.status)
            answer = source.read(probe, gate.scope, since)
            reference = answer if isinstance(answer, ProbeReading) else None
            return Evidence(twins=seen, reference=reference, reference_status=probe.status)
        case RatioSignal() if signal.reference:
            limit = Limit(share=signal.reference.at_most)
            return Evidence(twins=seen, reference=_yardstick(signal.reference, limit, gate, source))
        case QuantileSignal() if signal.reference:
            limit = Limit(share=(100 - signal.percentile) / 100, over=signal.reference.at_most)
            return Evidence(twins=seen, reference=_yardstick(signal.reference, limit, gate, source))
    return Evidence(twins=seen)


def _part(part: AlarmPart, signal: AlarmSignal, gate: _Gate, source: SignalSource) -> PartEvidence | None:
    """A red part's own series, and its reference's; None when it is not red, or can't be read."""
    limit, own = limit_of(part), None
    if part.state == "ALARM":
        own = source.read(_series_of(part, limit), gate.scope, gate.since)
    if not isinstance(own, SeriesReading):
        return None
    reference = signal.references.get(part.metric)
    if reference is None or isinstance(reference, RatioReference) is not (limit.over is None):
        return PartEvidence(own=own)
    theirs = Limit(share=reference.at_most)
    if limit.over is not None:
        theirs = Limit(share=limit.share, over=reference.at_most)
    return PartEvidence(own=own, reference=_yardstick(reference, theirs, gate, source))


def _series_of(part: AlarmPart, limit: Limit) -> SeriesReference:
    if limit.over is None:
        return RatioReference(
            namespace=part.namespace, bad=part.metric, dimensions=part.dimensions, at_most=limit.share
        )
    return QuantileReference(
        namespace=part.namespace, metric=part.metric, dimensions=part.dimensions, at_most=limit.over
    )


def _yardstick(
    reference: SeriesReference, limit: Limit, gate: _Gate, source: SignalSource
) -> Yardstick | None:
    reading = source.read(reference, gate.scope, gate.since - SLICE_SECONDS)
    if not isinstance(reading, SeriesReading):
        return None
    metric = reference.bad if isinstance(reference, RatioReference) else reference.metric
    return Yardstick(name=f"the reference {reference.namespace} {metric}", reading=reading, limit=limit)


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


def _judge(
    gate: _Gate, reading: Reading, evidence: Evidence, *, bake: Bake, gates: int, at: float
) -> GateResult:
    return judge_gate(
        gate.signal,
        reading,
        evidence,
        min_samples=bake.samples,
        gates=gates,
        cell=gate.scope.cell,
        service=gate.scope.service,
        gate=gate.name,
        at=at,
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
