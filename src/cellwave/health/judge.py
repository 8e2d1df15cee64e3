"""The judge: readings in, verdicts out. Pure: no clock, no AWS, no file system; same input, same verdict.

How a threshold gate decides
    A ratio gate counts bad data points out of all. A quantile gate is the same thing: at most (100 - percentile) %
    of the values may lie above `at_most`, so a value above it is a bad data point (the sign test for a quantile:
    Conover, Practical Nonparametric Statistics, 3rd ed., 3.2).
    PASS    enough data points, the newest of them not long ago, and the share of bad ones is within the limit.
    FAIL    the share is over the limit, at least CONDEMNING bad points were seen, and the evidence is such as at
            most 1 % of the rollouts all of whose gates keep their limits ever show in any gate, however often they
            are looked at (threshold.py). A quantile FAILs only with enough data points: the first answers of new
            code are slow by nature (cold starts).
    INCONCLUSIVE  anything else: too few data points, none at all, none any more (longer than QUIET_SECONDS, and than
            QUIET_GAPS of the gaps between them), or a share over the limit on thin evidence. More traffic decides it.
    A FAIL is one of all that was read since the deployment converged, or since the first, second, … length of a bake
    after that was over: what goes well for hours does not make up for what goes wrong then. What is left out for
    others' sake (below) can take a FAIL away and never makes one, so it costs nothing of the 1 %.

What excuses a gate
    Cells that are known to run the release before go through the same minutes: the control group. Where a signal
    declares a `reference`, that does too: it runs none of the release's code. Both can excuse, never condemn:
    limits are what people agreed on, cells differ in customers and distance, and no cell was assigned at random, so a
    mere difference proves nothing. A healthy yardstick leaves a FAIL as it is: "no significant difference" is not "the
    same".
    Series   while the yardstick has, or may have, the same trouble a FAIL wants proof that the release did worse in
             the same slices of time (yardstick.py), in which it broke its limit too. It can PASS only with enough data
             points that are newer than all trouble.
    Alarms   each red metric alarm (of a composite: each of its red parts) must be excused: by more than half of at
             least CONTROL_TWINS twins in the control group whose alarm on the same metric is red too (the median
             twin is red, so one cell's own trouble excuses nobody: Rousseeuw and Leroy, Robust Regression, 1987, 1.2),
             or by the metric's reference, judged as above on what the alarm looked at. An alarm on a percentile is
             judged like a quantile: it FAILs only with enough data points.
    Probes   more than half of at least CONTROL_TWINS twins answer wrongly too, or the reference does.
    Whatever is excused is INCONCLUSIVE, never PASS, and is watched for up to the bake's `patience`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from typing import NamedTuple

from cellwave.fleet.model import AlarmSignal, ProbeSignal, QuantileSignal, RatioSignal, Signal
from cellwave.frozen import Frozen
from cellwave.health.model import (
    AlarmPart,
    AlarmReading,
    GateResult,
    ProbeReading,
    Reading,
    Red,
    SeriesReading,
    Unreadable,
    Verdict,
)
from cellwave.health.series import inside_of, outside_of, pool, quiet, settled
from cellwave.health.threshold import condemns, threshold
from cellwave.health.yardstick import SLICE_SECONDS, Limit, Yardstick, in_whole
from cellwave.waves.model import Bake

TOLD = 3
CONTROL_TWINS = 2


class Finding(NamedTuple):
    """What a gate comes to."""

    verdict: Verdict
    reason: str
    samples: int = 0
    excused: bool = False


class Terms(NamedTuple):
    """What a verdict goes by beside what was read: the data points needed, the gates of the rollout that count any,
    since when and at what time (epoch seconds) it is looked, and after how many seconds each it is judged anew."""

    needed: int
    gates: int
    since: float
    at: float
    anew: float


class PartEvidence(Frozen):
    """Of a red metric alarm: its own series since the deployment converged, and its metric's reference, both up to when
    it was red no more."""

    own: SeriesReading
    reference: Yardstick | None = None


class Evidence(Frozen):
    """What else was seen in the same minutes. `twins` are what the control group's same signals say, `reference` what
    the declared one does; `parts` belong to the red parts of an alarm's reds, in their order (None: not known)."""

    twins: tuple[Reading, ...] = ()
    reference: Yardstick | ProbeReading | None = None
    reference_status: int = 200
    parts: tuple[PartEvidence | None, ...] = ()


NOTHING = Evidence()


class BakeVerdict(StrEnum):
    """What a bake comes to: PASS, FAIL (the whole rollout goes back) and INCONCLUSIVE (a person decides) end it,
    WAIT watches on."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    WAIT = "WAIT"


class Decision(Frozen):
    """A bake's verdict and the reason in words. `failing` are the gates that FAIL, tolerated ones too."""

    verdict: BakeVerdict
    reason: str
    failing: tuple[GateResult, ...] = ()


def judge_gate(
    signal: Signal,
    reading: Reading,
    evidence: Evidence = NOTHING,
    *,
    min_samples: int,
    gates: int,
    cell: str,
    service: str,
    gate: str,
    at: float,
    since: float = 0.0,
    anew: float = math.inf,
) -> GateResult:
    """The verdict on one gate of one deployment.

    `min_samples` data points are needed unless the signal says otherwise. `gates` is how many of the whole rollout's
    count data points: they share its chance of a false alarm. `at` and `since` (when the deployment converged) are
    epoch seconds. Every `anew` seconds after that it is judged anew, beside as a whole.
    """
    found = _find(signal, reading, evidence, Terms(min_samples, gates, since, at, anew))
    return GateResult(
        cell=cell,
        service=service,
        gate=gate,
        verdict=found.verdict,
        reason=found.reason,
        critical=signal.critical,
        samples=found.samples,
        excused=found.excused,
        at=at,
    )


def judge_bake(
    results: Sequence[GateResult],
    bake: Bake,
    elapsed: float,
    *,
    tolerance: int = 0,
    harmed: Collection[str] = (),
    elsewhere: Sequence[GateResult] = (),
) -> Decision:
    """What the newest results of all gates of a wave come to, when its bake was watched for `elapsed` seconds.

    A gate that FAILs ends the bake at once, and so does one `elsewhere`, in what was changed in other waves. So many
    cells as `tolerance` may be harmed in the whole rollout and be let pass (`harmed` are those that are already),
    unless the gate is critical, fails in two cells, or no cell of the wave is left that isn't harmed: then there is
    nothing that says it is the cell.
    """
    failing = tuple(sorted((r for r in (*results, *elsewhere) if r.verdict is Verdict.FAIL), key=_place))
    passed_over = {*harmed, *(r.cell for r in failing)}
    if failing and (
        _condemned(failing)
        or len(passed_over) > tolerance
        or (results and passed_over.issuperset(result.cell for result in results))
    ):
        return Decision(verdict=BakeVerdict.FAIL, reason=few([*map(tell, failing)]), failing=failing)
    if not bake.seconds and not bake.samples:
        return Decision(verdict=BakeVerdict.PASS, reason="no bake asked for", failing=failing)
    if elapsed < bake.seconds:
        reason = f"baking: {elapsed:.0f} of {bake.seconds:g} seconds"
        return Decision(verdict=BakeVerdict.WAIT, reason=reason, failing=failing)
    rest = [r for r in results if r.cell not in passed_over]
    open_ = tuple(sorted((r for r in rest if r.verdict is not Verdict.PASS), key=_place))
    if not open_:
        return Decision(verdict=BakeVerdict.PASS, reason=_passed(results, rest, elapsed), failing=failing)
    limit = longest(bake, open_)
    if elapsed < limit:
        reason = f"watching on, until {limit:g} seconds at most: {few([*map(tell, open_)])}"
        return Decision(verdict=BakeVerdict.WAIT, reason=reason, failing=failing)
    reason = f"after {elapsed:.0f} seconds still not known to be healthy: {few([*map(tell, open_)])}"
    return Decision(verdict=BakeVerdict.INCONCLUSIVE, reason=reason, failing=failing)


def longest(bake: Bake, results: Sequence[GateResult]) -> float:
    """For how many seconds at most gates are watched that don't pass."""
    return max(bake.limit, bake.seconds, bake.patience if any(r.excused for r in results) else 0)


def _condemned(failing: Sequence[GateResult]) -> bool:
    """Whether it is the release whatever is tolerated: a critical gate, or the same one in two cells."""
    gates = {(result.service, result.gate, result.cell) for result in failing}
    repeated = len({gate[:2] for gate in gates}) < len(gates)
    return any(r.critical for r in failing) or repeated


def _place(result: GateResult) -> tuple[str, str, str]:
    return (result.cell, result.service, result.gate)


def tell(result: GateResult) -> str:
    """A gate's result in words."""
    return f"{result.cell}.{result.service} {result.gate}: {result.reason}"


def few(texts: Sequence[str]) -> str:
    """The first of some texts, and how many more there are."""
    return "; ".join(texts[:TOLD]) + (f"; and {len(texts) - TOLD} more" if len(texts) > TOLD else "")


def _passed(results: Sequence[GateResult], rest: Sequence[GateResult], elapsed: float) -> str:
    if not rest:
        but = ", ".join(sorted({result.cell for result in results}))
        return f"no gate is declared{but and ' but in '}{but}; {elapsed:.0f} seconds passed"
    return f"all {len(rest)} gates passed after {elapsed:.0f} seconds"


def _find(signal: Signal, reading: Reading, evidence: Evidence, terms: Terms) -> Finding:
    if isinstance(reading, Unreadable):
        kind = f" ({reading.fault})" if reading.fault else ""
        return Finding(Verdict.ERROR, f"unreadable{kind}: {reading.reason}")
    match signal, reading:
        case AlarmSignal(), AlarmReading():
            return _alarm(signal, reading, evidence, terms)
        case ((RatioSignal() | QuantileSignal()), SeriesReading()):
            return _series(signal, reading, evidence, terms)
        case ProbeSignal(), ProbeReading():
            return _probe(signal, reading, evidence)
    return Finding(Verdict.ERROR, f"a {type(reading).__name__} says nothing about a {signal.kind} signal")


def _alarm(signal: AlarmSignal, reading: AlarmReading, evidence: Evidence, terms: Terms) -> Finding:
    parts, since = iter(evidence.parts), int(terms.since)  # a turn's time may be in whole seconds
    for red in reading.earlier:
        seen = [next(parts, None) for part in red.parts if part.state == "ALARM"]
        if red.since >= since and not _excused_parts(red, seen, evidence, terms)[0]:
            begin, lasted = red.since - terms.since, red.until - red.since
            told = f"{begin:.0f} seconds after this release, for {lasted:.0f} seconds"
            detail = f" ({red.reason})" if red.reason else ""
            return Finding(Verdict.FAIL, f"alarm {signal.name} was in ALARM {told}{detail}")
    detail = f" ({reading.reason})" if reading.reason else ""
    match reading.state:
        case "OK":
            return Finding(Verdict.PASS, f"alarm {signal.name} is OK")
        case "ALARM" if reading.since < since:
            return Finding(Verdict.INCONCLUSIVE, f"alarm {signal.name} was red before this release{detail}")
        case "ALARM":
            why, excused = _excused_parts(reading.reds[-1], list(parts), evidence, terms)
            verdict = Verdict.INCONCLUSIVE if why else Verdict.FAIL
            return Finding(
                verdict, f"alarm {signal.name} is in ALARM{detail}{why and '; but '}{why}", 0, excused
            )
        case "INSUFFICIENT_DATA":
            return Finding(Verdict.INCONCLUSIVE, f"alarm {signal.name} has not enough data yet")
        case "MISSING":
            return Finding(Verdict.ERROR, f"there is no alarm {signal.name}")
        case other:
            return Finding(Verdict.ERROR, f"alarm {signal.name} is in the unknown state {other!r}")


def _excused_parts(
    alarm: Red, parts: Sequence[PartEvidence | None], evidence: Evidence, terms: Terms
) -> tuple[str, bool]:
    """Why a red alarm condemns nobody, part by part ("" when one part does), and whether that is others' trouble."""
    known = [*parts, *[None] * len(alarm.parts)]
    red = [part for part in alarm.parts if part.state == "ALARM"]
    reasons = [
        _excused_part(part, seen, alarm, evidence, terms) for part, seen in zip(red, known, strict=False)
    ]
    if alarm.parts and not red:
        return "none of its alarms is red any more", False
    if not reasons or not all(why for why, _ in reasons):
        return "", False
    return "; ".join(dict.fromkeys(why for why, _ in reasons)), any(excused for _, excused in reasons)


def _excused_part(
    part: AlarmPart, seen: PartEvidence | None, alarm: Red, evidence: Evidence, terms: Terms
) -> tuple[str, bool]:
    """Of an alarm that is red no more, what it saw until then decides, and who was red at the same time."""
    over = alarm.until < math.inf
    begin = (alarm.since if over else terms.at) - max(part.window, SLICE_SECONDS)
    twins = [twin for twin in evidence.twins if isinstance(twin, AlarmReading) and twin.state != "MISSING"]
    red = sum(_was_red(twin, part, begin if over else terms.at, alarm.until) for twin in twins)
    if _most(red, len(twins)):
        return f"so it is in {red} of {len(twins)} cells without this release", True
    if seen is None:
        return "", False
    limit = limit_of(part)
    _, total = limit.count(seen.own.periods)
    if limit.over is not None and total < terms.needed:
        return f"new code starts slowly, {total} of {terms.needed} data points", False
    if seen.reference is None:
        return "", False
    own = SeriesReading(periods=tuple(p for p in seen.own.periods if p.at >= begin))
    at = min(terms.at, alarm.until)
    spans = [span for span in seen.reference.troubled(own, limit, at) if span[1] > begin]
    if not spans or seen.reference.outdone(own, limit, at, terms.gates):
        return "", False
    return f"{seen.reference.name} has the same trouble", True


def _was_red(twin: AlarmReading, part: AlarmPart, begin: float, end: float) -> bool:
    return any(
        other.state == "ALARM" and other.watches == part.watches
        for red in twin.reds
        if red.since <= end and red.until >= begin
        for other in red.parts
    )


def limit_of(part: AlarmPart) -> Limit:
    """What a metric alarm allows: of values above its threshold when it watches a percentile, else of bad samples."""
    if part.statistic.startswith("p"):
        return Limit(share=(100 - float(part.statistic[1:])) / 100, over=part.over)
    return Limit(share=min(1.0, max(0.0, part.over)))


def _most(bad: int, of: int) -> bool:
    return of >= CONTROL_TWINS and 2 * bad > of


def _probe(signal: ProbeSignal, reading: ProbeReading, evidence: Evidence) -> Finding:
    if reading.status == 0:
        return Finding(Verdict.ERROR, f"{signal.url} did not answer: {reading.reason}")
    if reading.status == signal.status:
        return Finding(Verdict.PASS, f"{signal.url} answers {reading.status}", 1)
    reason = f"{signal.url} answers {reading.status} instead of {signal.status}"
    twins = [twin for twin in evidence.twins if isinstance(twin, ProbeReading) and twin.status]
    wrong = sum(twin.status != signal.status for twin in twins)
    if _most(wrong, len(twins)):
        reason += f"; but so do {wrong} of {len(twins)} cells without this release"
        return Finding(Verdict.INCONCLUSIVE, reason, 1, excused=True)
    reference = evidence.reference
    if isinstance(reference, ProbeReading) and reference.status != evidence.reference_status:
        return Finding(Verdict.INCONCLUSIVE, f"{reason}; but so does its reference", 1, excused=True)
    return Finding(Verdict.FAIL, reason, 1)


def _series(
    signal: RatioSignal | QuantileSignal, reading: SeriesReading, evidence: Evidence, terms: Terms
) -> Finding:
    if isinstance(signal, RatioSignal):
        limit, name, word = Limit(share=signal.at_most), signal.bad, "bad"
    else:
        limit = Limit(share=(100 - signal.percentile) / 100, over=signal.at_most)
        name, word = signal.metric, f"above {signal.at_most:g}"
    needed = terms.needed if signal.min_samples is None else signal.min_samples

    def plain(series: SeriesReading) -> Finding:
        bad, total = limit.count(series.periods)
        verdict, reason = threshold(bad, total, limit.share, needed=needed, gates=terms.gates, word=word)
        if verdict is Verdict.PASS and (seconds := quiet(series, terms.at)):
            verdict, reason = Verdict.INCONCLUSIVE, f"{reason}, but no data since {seconds:.0f} s"
        if isinstance(signal, QuantileSignal) and (values := series.values):
            if verdict is Verdict.FAIL and total < needed:
                verdict = Verdict.INCONCLUSIVE
                reason = f"{reason}; but new code starts slowly, {needed} data points tell"
            reason += f"; p{signal.percentile:g} is {_percentile(values, signal.percentile):g}"
        return Finding(verdict, f"{name}: {reason}", total)

    whole = settled(reading)
    found = _weigh(plain, whole, limit, evidence, terms)
    least = needed if isinstance(signal, QuantileSignal) else 0
    begun = None if found.verdict is Verdict.FAIL else _broken_since(whole, limit, least, terms)
    if begun is None:
        return found
    late = _weigh(plain, inside_of(whole, [(begun, math.inf)]), limit, evidence, terms)
    told = f"{late.reason}, in the last {terms.at - begun:.0f} seconds"
    return found if late.verdict is Verdict.PASS else late._replace(reason=told)


def _broken_since(reading: SeriesReading, limit: Limit, least: int, terms: Terms) -> float | None:
    """The newest moment at which the gate was judged anew (epoch seconds) and since when, with so many data points at
    `least`, it is condemned; None when there is none."""
    later = int(max(0.0, terms.at - terms.since) // terms.anew)
    bad = total = 0.0
    for period in reversed(reading.periods):
        while later and period.at < (begun := terms.since + later * terms.anew):
            counts = in_whole(bad, total)
            if counts[1] >= least and condemns(*counts, limit.share, terms.gates, later):
                return begun
            later -= 1
        if not later:
            break
        more_bad, more = limit.of(period)
        bad, total = bad + more_bad, total + more
    return None


def _weigh(
    plain: Callable[[SeriesReading], Finding],
    reading: SeriesReading,
    limit: Limit,
    evidence: Evidence,
    terms: Terms,
) -> Finding:
    """The verdict on a series, without the slices of time in which others had the same trouble."""
    found = plain(reading)
    bad, total = limit.count(reading.periods)
    if found.verdict is Verdict.PASS or bad <= limit.share * total:
        return found  # what is too little, or too old, is no trouble
    series = [twin for twin in evidence.twins if isinstance(twin, SeriesReading)]
    control = Yardstick(name="the cells without this release", reading=pool(series), limit=limit)
    for yardstick in (control, evidence.reference):
        if not isinstance(yardstick, Yardstick):
            continue
        spans = yardstick.troubled(reading, limit, terms.at)
        if not spans or yardstick.outdone(reading, limit, terms.at, terms.gates):
            continue
        past = [(-math.inf, spans[0][1])]
        newer = plain(outside_of(reading, past))
        if newer.verdict is Verdict.PASS:
            return newer._replace(reason=f"{newer.reason}, since {yardstick.name} had trouble too")
        reason = f"{found.reason}; but {yardstick.name} had the same trouble"
        return found._replace(verdict=Verdict.INCONCLUSIVE, reason=reason, excused=True)
    return found


def _percentile(values: Sequence[float], percentile: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percentile / 100))]
