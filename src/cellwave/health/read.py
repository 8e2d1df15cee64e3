"""What a rollout asks of health: is anything red already, and what do the gates of a wave say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import cast

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
from cellwave.health.asking import EACH_SECONDS, Asking
from cellwave.health.cloudwatch import CloudWatchSource, place_of
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
from cellwave.health.ports import Readable, Scope, SignalSource, Wanted
from cellwave.health.template import expand
from cellwave.health.yardstick import SLICE_SECONDS, Limit, Yardstick
from cellwave.waves.model import Bake

Deployment = tuple[str, str]  # cell, service
ANEW_SECONDS = 60.0  # after which a gate is judged anew at the earliest: AWS's own metrics come by the minute


class Watched(Frozen):
    """A deployment whose gates are read, and since when (epoch seconds) it has converged."""

    scope: Scope
    since: float


class LiveSource:
    """Every kind of signal, from AWS and over HTTP; the environment's variables say which AWS.

    Each place and each URL is asked for itself, and has a time to answer in: who hangs holds up no other.
    """

    def __init__(
        self,
        cloudwatch: SignalSource | None = None,
        http: SignalSource | None = None,
        each: float = EACH_SECONDS,
    ) -> None:
        self._cloudwatch = cloudwatch or CloudWatchSource()
        self._http = http or HttpSource()
        self._asking = Asking[Hashable, list[Reading]](each)

    def read(self, wanted: Sequence[Wanted]) -> list[Reading]:
        """See SignalSource."""
        parts = defaultdict[Hashable, list[int]](list)
        for number, one in enumerate(wanted):
            url = one.signal.url if isinstance(one.signal, ProbeSignal) else ""
            parts[url or place_of(one.scope)].append(number)
        answers = self._asking.ask(
            {
                whom: partial(
                    (self._http if isinstance(whom, str) else self._cloudwatch).read,
                    [wanted[number] for number in numbers],
                )
                for whom, numbers in parts.items()
            }
        )
        readings: list[Reading] = [Unreadable(reason="not read")] * len(wanted)
        for whom, numbers in parts.items():
            answer = answers[whom]
            for at, number in enumerate(numbers):
                readings[number] = _silence(wanted[number], answer) if isinstance(answer, str) else answer[at]
        return readings


def _silence(wanted: Wanted, why: str) -> Unreadable:
    signal = wanted.signal
    who = signal.url if isinstance(signal, ProbeSignal) else f"CloudWatch of {wanted.scope.cell}"
    return Unreadable(reason=f"{who}: {why}", cause="silence")


class _Gate(Frozen):
    """One signal of one deployment, to be read. `broken`: why its texts can't be filled in."""

    name: str
    wanted: Wanted
    broken: str = ""

    def beside(self, reference: Readable) -> Wanted:
        """What stands beside it, from a slice of time earlier on."""
        return Wanted(signal=reference, scope=self.wanted.scope, since=self.wanted.since - SLICE_SECONDS)


Beside = Generator[
    list[Wanted], list[Reading], Evidence
]  # asks for readings, is sent them, and comes to evidence


def open_alarms(
    fleet: Fleet, scopes: Mapping[Deployment, Scope], source: SignalSource, now: float
) -> list[str]:
    """In words, the alarms of these deployments that are red `now` (epoch seconds), or can't be read. One that is not
    there yet is fine."""
    gates = [
        gate
        for scope in scopes.values()
        for gate in _gates(fleet, scope, now)
        if isinstance(gate.wanted.signal, AlarmSignal)
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
    control: Callable[[Scope], Sequence[Scope]] = lambda _: (),
) -> list[GateResult]:
    """The verdict on every gate of a wave's deployments, in their order.

    `gates` is how many of the whole rollout's gates count data points (see `counting`), `now` epoch seconds. `control`
    gives a deployment's control group: its service's deployments that are known to run the release before.

    Only data newer than a deployment's convergence counts. Control groups and references are read only where a gate
    would FAIL, and references where it doesn't PASS though the bake has lasted its seconds. A gate whose text names
    what its stack does not have is an ERROR: a wave that bakes must not break off.
    """
    asked = [
        (gate, watched) for watched in deployments for gate in _gates(fleet, watched.scope, watched.since)
    ]
    readings = _read_all([gate for gate, _ in asked], source)
    judge = partial(_judge, bake=bake, gates=gates, at=now)
    results = [judge(gate, reading, NOTHING) for (gate, _), reading in zip(asked, readings, strict=True)]
    beside = {}
    for number, ((gate, watched), reading) in enumerate(zip(asked, readings, strict=True)):
        verdict = results[number].verdict
        late = now - baking_since >= bake.seconds and isinstance(reading, SeriesReading)
        if verdict is Verdict.FAIL or (verdict is Verdict.INCONCLUSIVE and late):
            others = control(watched.scope) if verdict is Verdict.FAIL else ()
            beside[number] = _evidence(fleet, gate, reading, others)
    for number, evidence in _gathered(beside, source).items():
        results[number] = judge(asked[number][0], readings[number], evidence)
    return results


def _gathered(beside: Mapping[int, Beside], source: SignalSource) -> dict[int, Evidence]:
    """All evidence, read together, as many times as one asks."""
    found, asked = dict[int, Evidence](), {number: next(asking) for number, asking in beside.items()}
    while asked:
        answers = iter(source.read([one for wanted in asked.values() for one in wanted]))
        for number, wanted in list(asked.items()):
            try:
                asked[number] = beside[number].send([next(answers) for _ in wanted])
            except StopIteration as end:
                found[number] = end.value
                del asked[number]
    return found


def _evidence(fleet: Fleet, gate: _Gate, reading: Reading, control: Sequence[Scope]) -> Beside:
    """What else went on in the same minutes; what can't be read is left out."""
    since = gate.wanted.since - SLICE_SECONDS
    twins = [twin for scope in control for twin in _gates(fleet, scope, since) if twin.name == gate.name]
    answers = yield [twin.wanted for twin in twins if not twin.broken]
    seen = tuple(reading for reading in answers if not isinstance(reading, Unreadable))
    signal = gate.wanted.signal
    match signal:
        case AlarmSignal() if isinstance(reading, AlarmReading):
            parts = yield from _parts(gate, signal, reading)
            return Evidence(twins=seen, parts=parts)
        case ProbeSignal() if signal.reference:
            probe = ProbeSignal(url=signal.reference.url, status=signal.reference.status)
            (answer,) = yield [gate.beside(probe)]
            reference = answer if isinstance(answer, ProbeReading) else None
            return Evidence(twins=seen, reference=reference, reference_status=probe.status)
        case RatioSignal() | QuantileSignal() if signal.reference:
            (answer,) = yield [gate.beside(signal.reference)]
            share = (100 - signal.percentile) / 100 if isinstance(signal, QuantileSignal) else 0.0
            return Evidence(twins=seen, reference=_yardstick(signal.reference, share, answer))
    return Evidence(twins=seen)


def _parts(
    gate: _Gate, signal: AlarmSignal, reading: AlarmReading
) -> Generator[list[Wanted], list[Reading], tuple[PartEvidence | None, ...]]:
    """Of each red part its own series, and its reference's; None when they can't be read."""
    parts = [(red, part) for red in reading.reds for part in red.parts if part.state == "ALARM"]
    references = [_reference_of(part, signal) for _, part in parts]
    answers = yield [
        *(gate.wanted.model_copy(update={"signal": _series_of(part)}) for _, part in parts),
        *(gate.beside(reference) for reference in references if reference),
    ]
    theirs = iter(answers[len(parts) :])
    found: list[PartEvidence | None] = []
    for (red, part), own, reference in zip(parts, answers, references, strict=False):
        other = _before(next(theirs), red.until) if reference else None
        yardstick = _yardstick(reference, limit_of(part).share, other) if reference and other else None
        mine = _before(own, red.until)
        found.append(PartEvidence(own=mine, reference=yardstick) if isinstance(mine, SeriesReading) else None)
    return tuple(found)


def _reference_of(part: AlarmPart, signal: AlarmSignal) -> SeriesReference | None:
    """What shows the platform's own trouble with what a part watches, if it is of the part's kind."""
    reference = signal.references.get(part.metric)
    fits = isinstance(reference, RatioReference) is (limit_of(part).over is None)
    return reference if fits else None


def _series_of(part: AlarmPart) -> SeriesReference:
    limit = limit_of(part)
    if limit.over is None:
        return RatioReference(
            namespace=part.namespace, bad=part.metric, dimensions=part.dimensions, at_most=limit.share
        )
    return QuantileReference(
        namespace=part.namespace, metric=part.metric, dimensions=part.dimensions, at_most=limit.over
    )


def _yardstick(reference: SeriesReference, share: float, answer: Reading) -> Yardstick | None:
    """What a reference says, and its own limit; `share` of its values may be above that of a quantile."""
    if not isinstance(answer, SeriesReading):
        return None
    limit, metric = Limit(share=reference.at_most), ""
    match reference:
        case RatioReference():
            metric = reference.bad
        case QuantileReference():
            limit, metric = Limit(share=share, over=reference.at_most), reference.metric
    return Yardstick(name=f"the reference {reference.namespace} {metric}", reading=answer, limit=limit)


def _before(reading: Reading, until: float) -> Reading:
    if not isinstance(reading, SeriesReading):
        return reading
    return SeriesReading(periods=tuple(period for period in reading.periods if period.at < until))


def _gates(fleet: Fleet, scope: Scope, since: float) -> list[_Gate]:
    service = fleet.service(scope.cell, scope.service)
    return [_gate(scope, name, signal, since) for name, signal in service.signals.items()]


def _gate(scope: Scope, name: str, signal: Signal, since: float) -> _Gate:
    broken = ""
    try:
        signal = expand(signal, scope, f"services.{scope.service}.signals.{name}")
    except BadInput as error:
        broken = str(error)
    return _Gate(name=name, wanted=Wanted(signal=signal, scope=scope, since=since), broken=broken)


def _read_all(gates: Sequence[_Gate], source: SignalSource) -> list[Reading]:
    answers = iter(source.read([gate.wanted for gate in gates if not gate.broken]))
    return [Unreadable(reason=gate.broken) if gate.broken else next(answers) for gate in gates]


def _judge(
    gate: _Gate, reading: Reading, evidence: Evidence, *, bake: Bake, gates: int, at: float
) -> GateResult:
    scope = gate.wanted.scope
    return judge_gate(
        cast(Signal, gate.wanted.signal),
        reading,
        evidence,
        min_samples=bake.samples,
        gates=gates,
        cell=scope.cell,
        service=scope.service,
        gate=gate.name,
        at=at,
        since=gate.wanted.since,
        anew=max(bake.seconds, ANEW_SECONDS),
    )


def _red(gate: _Gate, reading: Reading) -> str:
    place = f"{gate.wanted.scope.cell}.{gate.wanted.scope.service} {gate.name}"
    match reading:
        case AlarmReading(state="ALARM"):
            return f"{place}: red already ({reading.reason})"
        case Unreadable():
            return f"{place}: {reading.reason}"
    return ""
