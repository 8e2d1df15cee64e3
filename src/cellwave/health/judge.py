"""The judge: readings in, verdicts out. Pure: no clock, no AWS, no file system; same input, same verdict.

How a threshold gate decides
    A ratio gate counts bad data points out of all. A quantile gate is the same thing: at most (100 - percentile) %
    of the values may lie above `at_most`, so a value above it is a bad data point (the sign test for a quantile:
    Conover, Practical Nonparametric Statistics, 3rd ed., 3.2).
    PASS    enough data points, and the share of bad ones is within the limit.
    FAIL    the share is over the limit, at least CONDEMNING bad points were seen, and a one-sided exact binomial
            test says that a service just within its limit would show this many bad points with a probability below
            ALPHA. A gate is looked at again and again while a wave bakes, and every look is a chance to be
            unlucky: at 0.001 a look, a service exactly at its limit is condemned in at most one of 100 bakes of
            80 looks at 400 requests, one at half its limit in one of 5,000 (simulated). One that answers a fifth of
            its requests with errors where 1 % may be is condemned after 15 requests (the median). A quantile
            FAILs only with enough data points: the first answers of new code are slow by nature (cold starts).
    INCONCLUSIVE  anything else: too few data points, none at all, or a share over the limit on thin evidence. More
            traffic decides it.

What the control group does
    Cells that the rollout has not reached yet run the old release through the same minutes. They can exonerate
    a release, never condemn it: limits are what people agreed on, cells differ in customers and distance, and no cell
    was assigned at random, so a mere difference from other cells proves nothing. A gate that would FAIL becomes
    INCONCLUSIVE only when the control group has at least CONTROL_SAMPLES data points, breaks the same limit itself, and
    the release is not worse than it: a ratio by Fisher's exact test, a quantile by the Mann-Whitney U test (both
    one-sided, CONTROL_ALPHA) with an effect (rank-biserial correlation, equal to Cliff's delta) of at least
    CONTROL_EFFECT, below which a difference is called negligible (Romano et al. 2006).
    A healthy control group leaves the FAIL as it is: "no significant difference" is not "the same".
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from scipy.special import bdtrc

from cellwave.fleet.model import AlarmSignal, ProbeSignal, QuantileSignal, RatioSignal, Signal
from cellwave.frozen import Frozen
from cellwave.health.model import (
    AlarmReading,
    GateResult,
    ProbeReading,
    Reading,
    SeriesReading,
    Unreadable,
    Verdict,
)
from cellwave.waves.model import Bake

ALPHA = 0.001
CONDEMNING = 3
TOLD = 3
CONTROL_ALPHA = 0.05
CONTROL_EFFECT = 0.147
CONTROL_SAMPLES = 30

Finding = tuple[Verdict, str, int]


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
    control: SeriesReading | None,
    *,
    min_samples: int,
    cell: str,
    service: str,
    gate: str,
    at: float,
    since: float = 0.0,
) -> GateResult:
    """The verdict on one gate of one deployment.

    `control` pools the same series of cells not yet updated. `min_samples` data points are needed unless the signal
    says otherwise. `at` and `since` (when the deployment converged) are epoch seconds.
    """
    verdict, reason, samples = _find(signal, reading, control, min_samples, since)
    return GateResult(
        cell=cell,
        service=service,
        gate=gate,
        verdict=verdict,
        reason=reason,
        critical=signal.critical,
        samples=samples,
        at=at,
    )


def judge_bake(results: Sequence[GateResult], bake: Bake, elapsed: float, *, tolerance: int = 0) -> Decision:
    """What the newest results of all gates of a wave come to, `elapsed` seconds into its bake.

    A gate that FAILs ends the bake at once. So many cells as `tolerance` may fail and be let pass, unless the gate is
    critical, fails in two cells, or the wave has one cell only: then there is nothing that says it is the cell.
    """
    failing = tuple(sorted((r for r in results if r.verdict is Verdict.FAIL), key=_place))
    if failing and _condemned(results, failing, tolerance):
        return Decision(verdict=BakeVerdict.FAIL, reason=_tell(failing), failing=failing)
    if not bake.seconds and not bake.samples:
        return Decision(verdict=BakeVerdict.PASS, reason="no bake asked for", failing=failing)
    if elapsed < bake.seconds:
        reason = f"baking: {elapsed:.0f} of {bake.seconds:g} seconds"
        return Decision(verdict=BakeVerdict.WAIT, reason=reason, failing=failing)
    tolerated = {result.cell for result in failing}
    rest = [r for r in results if r.cell not in tolerated]
    open_ = tuple(sorted((r for r in rest if r.verdict is not Verdict.PASS), key=_place))
    if not open_:
        return Decision(verdict=BakeVerdict.PASS, reason=_passed(rest, elapsed), failing=failing)
    limit = max(bake.limit, bake.seconds)
    if elapsed < limit:
        reason = f"watching on, until {limit:g} seconds at most: {_tell(open_)}"
        return Decision(verdict=BakeVerdict.WAIT, reason=reason, failing=failing)
    reason = f"after {elapsed:.0f} seconds still not known to be healthy: {_tell(open_)}"
    return Decision(verdict=BakeVerdict.INCONCLUSIVE, reason=reason, failing=failing)


def _condemned(results: Sequence[GateResult], failing: Sequence[GateResult], tolerance: int) -> bool:
    cells = {result.cell for result in failing}
    gates = {(result.service, result.gate, result.cell) for result in failing}
    repeated = len({gate[:2] for gate in gates}) < len(gates)
    lone_wave = len({result.cell for result in results}) == 1
    return any(r.critical for r in failing) or repeated or lone_wave or len(cells) > tolerance


def _place(result: GateResult) -> tuple[str, str, str]:
    return (result.cell, result.service, result.gate)


def _tell(results: Sequence[GateResult]) -> str:
    told = [f"{r.cell}.{r.service} {r.gate}: {r.reason}" for r in results[:TOLD]]
    return "; ".join(told) + (f"; and {len(results) - TOLD} more" if len(results) > TOLD else "")


def _passed(results: Sequence[GateResult], elapsed: float) -> str:
    if not results:
        return f"no gate is declared; {elapsed:.0f} seconds passed"
    return f"all {len(results)} gates passed after {elapsed:.0f} seconds"


def _find(
    signal: Signal, reading: Reading, control: SeriesReading | None, min_samples: int, since: float
) -> Finding:
    if isinstance(reading, Unreadable):
        return Verdict.ERROR, f"unreadable: {reading.reason}", 0
    match signal, reading:
        case AlarmSignal(), AlarmReading():
            return _alarm(signal, reading, since)
        case RatioSignal(), SeriesReading():
            return _ratio(signal, reading, control, min_samples)
        case QuantileSignal(), SeriesReading():
            return _quantile(signal, reading, control, min_samples)
        case ProbeSignal(), ProbeReading():
            return _probe(signal, reading)
    return Verdict.ERROR, f"a {type(reading).__name__} says nothing about a {signal.kind} signal", 0


def _alarm(signal: AlarmSignal, reading: AlarmReading, since: float) -> Finding:
    detail = f" ({reading.reason})" if reading.reason else ""
    match reading.state:
        case "OK":
            return Verdict.PASS, f"alarm {signal.name} is OK", 0
        case "ALARM" if reading.since < int(since):  # a transition's time may be in whole seconds
            return Verdict.INCONCLUSIVE, f"alarm {signal.name} was red before this release{detail}", 0
        case "ALARM":
            return Verdict.FAIL, f"alarm {signal.name} is in ALARM{detail}", 0
        case "INSUFFICIENT_DATA":
            return Verdict.INCONCLUSIVE, f"alarm {signal.name} has not enough data yet", 0
        case "MISSING":
            return Verdict.ERROR, f"there is no alarm {signal.name}", 0
        case other:
            return Verdict.ERROR, f"alarm {signal.name} is in the unknown state {other!r}", 0


def _probe(signal: ProbeSignal, reading: ProbeReading) -> Finding:
    if reading.status == 0:
        return Verdict.ERROR, f"{signal.url} did not answer: {reading.reason}", 0
    if reading.status == signal.status:
        return Verdict.PASS, f"{signal.url} answers {reading.status}", 1
    return Verdict.FAIL, f"{signal.url} answers {reading.status} instead of {signal.status}", 1


def _ratio(
    signal: RatioSignal, reading: SeriesReading, control: SeriesReading | None, min_samples: int
) -> Finding:
    bad, total = _counts(reading)
    verdict, reason = _threshold(bad, total, signal.at_most, _needed(signal, min_samples), "bad")
    if verdict is Verdict.FAIL and control is not None:
        control_bad, control_total = _counts(control)
        as_bad = _usable(control_bad, control_total, signal.at_most)
        if as_bad and not _more_often(bad, total, control_bad, control_total):
            verdict = Verdict.INCONCLUSIVE
            reason += f"; but so are {_share(control_bad, control_total)} in cells without this release"
    return verdict, f"{signal.bad}: {reason}", total


def _quantile(
    signal: QuantileSignal, reading: SeriesReading, control: SeriesReading | None, min_samples: int
) -> Finding:
    allowed = (100 - signal.percentile) / 100
    over, total = _over(reading.values, signal.at_most), len(reading.values)
    word = f"above {signal.at_most:g}"
    needed = _needed(signal, min_samples)
    verdict, reason = _threshold(over, total, allowed, needed, word)
    if verdict is Verdict.FAIL and total < needed:
        verdict, reason = (
            Verdict.INCONCLUSIVE,
            f"{reason}; but new code starts slowly, {needed} data points tell",
        )
    if total:
        reason += f"; p{signal.percentile:g} is {_percentile(reading.values, signal.percentile):g}"
    if verdict is Verdict.FAIL and control is not None:
        as_bad = _usable(_over(control.values, signal.at_most), len(control.values), allowed)
        if as_bad and not _higher(reading.values, control.values):
            verdict = Verdict.INCONCLUSIVE
            reason += f"; but it is {_percentile(control.values, signal.percentile):g} without this release"
    return verdict, f"{signal.metric}: {reason}", total


def _threshold(bad: int, total: int, allowed: float, needed: int, word: str) -> tuple[Verdict, str]:
    """The verdict on `bad` of `total` data points, without regard to other cells; `word` says what bad means."""
    if total == 0:
        return Verdict.INCONCLUSIVE, "no data points yet"
    share = f"{_share(bad, total)} are {word}, at most {allowed * 100:g}% allowed"
    if bad / total > allowed:
        if bad >= CONDEMNING and bdtrc(bad - 1, total, allowed) < ALPHA:
            return Verdict.FAIL, share
        return Verdict.INCONCLUSIVE, f"{share}, but that may be chance"
    if total < needed:
        return Verdict.INCONCLUSIVE, f"{total} of {needed} data points, {bad} {word}"
    return Verdict.PASS, share


def _needed(signal: RatioSignal | QuantileSignal, min_samples: int) -> int:
    return min_samples if signal.min_samples is None else signal.min_samples


def _counts(reading: SeriesReading) -> tuple[int, int]:
    # The two series arrive on their own: an error may be counted before the request that it belongs to.
    bad = round(reading.bad)
    return bad, max(bad, round(reading.total))


def _share(bad: int, total: int) -> str:
    return f"{bad} of {total} ({bad / total:.1%})"


def _over(values: Sequence[float], limit: float) -> int:
    return sum(value > limit for value in values)


def _percentile(values: Sequence[float], percentile: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percentile / 100))]


def _usable(bad: int, total: int, allowed: float) -> bool:
    """The control group is big enough, and breaks the limit itself."""
    return total >= CONTROL_SAMPLES and bad / total > allowed


def _more_often(bad: int, total: int, control_bad: int, control_total: int) -> bool:
    from scipy.stats import fisher_exact  # slow to import, and seldom needed

    table = np.array([[bad, total - bad], [control_bad, control_total - control_bad]])
    return bool(fisher_exact(table, alternative="greater").pvalue < CONTROL_ALPHA)


def _higher(values: Sequence[float], control: Sequence[float]) -> bool:
    from scipy.stats import mannwhitneyu  # slow to import, and seldom needed

    test = mannwhitneyu(values, control, alternative="greater", method="asymptotic")
    effect = 2 * test.statistic / (len(values) * len(control)) - 1
    return bool(test.pvalue < CONTROL_ALPHA and effect >= CONTROL_EFFECT)
