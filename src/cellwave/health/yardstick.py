"""Whether somebody without the release's code had the same trouble in the same minutes. Pure.

The time up to now is cut into slices of at least SLICE_SECONDS and CONTROL_SAMPLES of the yardstick's data points. In
a slice of trouble the yardstick breaks its own limit, by CONDEMNING data points or more. What a deployment did in
those slices is excused, unless it did worse there: a ratio by Fisher's exact test, a quantile by the Mann-Whitney U
test (both one-sided, CONTROL_ALPHA) with an effect (rank-biserial correlation, equal to Cliff's delta) of at least
CONTROL_EFFECT, below which a difference is called negligible (Romano et al. 2006). Values are compared in units of
each one's own limit.
Which slices are in trouble is read from the yardstick alone, so the deployment's own data choose no window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cellwave.frozen import Frozen
from cellwave.health.model import Period, SeriesReading
from cellwave.health.threshold import CONDEMNING

SLICE_SECONDS = 30.0
CONTROL_SAMPLES = 30
CONTROL_ALPHA = 0.05
CONTROL_EFFECT = 0.147

Span = tuple[float, float]  # epoch seconds: from, before


class Limit(Frozen):
    """At most `share` (0..1) of the data points may be bad; with `over`, those above that value are."""

    share: float
    over: float | None = None

    def count(self, periods: Sequence[Period]) -> tuple[int, int]:
        """How many data points are bad, of how many."""
        if self.over is not None:
            counts = [_above(period, self.over) for period in periods]
            return round(sum(above for above, _ in counts)), round(sum(total for _, total in counts))
        # The two series arrive on their own: an error may be counted before the request that it belongs to.
        bad = round(sum(period.bad for period in periods))
        return bad, max(bad, round(sum(period.total for period in periods)))

    def broken(self, periods: Sequence[Period]) -> bool:
        """Whether more are bad than may be, and not just one or two."""
        bad, total = self.count(periods)
        return bad >= CONDEMNING and bad > self.share * total


def _above(period: Period, over: float) -> tuple[float, float]:
    if period.above is not None:
        return period.above, period.total
    return sum(value > over for value in period.values), len(period.values)


class Yardstick(Frozen):
    """A series without the release's code, and its own limit. `name` says in words what it is."""

    name: str
    reading: SeriesReading
    limit: Limit

    def troubled(self, at: float) -> tuple[Span, ...]:
        """The slices up to `at` (epoch seconds) in which it broke its limit, the newest first."""
        return tuple(span for span, periods in self._slices(at) if self.limit.broken(periods))

    def _slices(self, at: float) -> list[tuple[Span, list[Period]]]:
        """The slices, the newest first; what is left over at the beginning belongs to the oldest."""
        found, until, inside = list[tuple[Span, list[Period]]](), math.inf, list[Period]()
        for period in reversed(self.reading.periods):
            inside.append(period)
            last = period is self.reading.periods[0]
            full = period.at <= at - SLICE_SECONDS or (last and not found)
            if full and self.limit.count(inside)[1] >= CONTROL_SAMPLES:
                found.append(((period.at, until), inside))
                at, until, inside = period.at, period.at, []
        if found and inside:
            (_, end), periods = found.pop()
            found.append(((inside[-1].at, end), periods + inside))
        return found

    def excuses(self, own: SeriesReading, limit: Limit, at: float) -> tuple[Span, ...]:
        """The slices of trouble in which the deployment was not worse than this."""
        spans = self.troubled(at)
        mine, theirs = inside_of(own, spans), inside_of(self.reading, spans)
        return () if spans and _worse(mine, limit, theirs, self.limit) else spans


def inside_of(reading: SeriesReading, spans: Sequence[Span]) -> SeriesReading:
    """The part of a series within any of the spans."""
    kept = (p for p in reading.periods if any(start <= p.at < end for start, end in spans))
    return SeriesReading(periods=tuple(kept))


def outside_of(reading: SeriesReading, spans: Sequence[Span]) -> SeriesReading:
    """The part of a series in none of the spans."""
    kept = (p for p in reading.periods if not any(start <= p.at < end for start, end in spans))
    return SeriesReading(periods=tuple(kept))


def _worse(mine: SeriesReading, limit: Limit, theirs: SeriesReading, their_limit: Limit) -> bool:
    if limit.over is not None and their_limit.over is not None:
        values = [value / limit.over for value in mine.values] if limit.over else []
        others = [value / their_limit.over for value in theirs.values]
        return bool(values) and _higher(values, others)
    (bad, total), (other_bad, other_total) = limit.count(mine.periods), their_limit.count(theirs.periods)
    return _more_often(bad, total, other_bad, other_total)


def _more_often(bad: int, total: int, control_bad: int, control_total: int) -> bool:
    from scipy.stats import fisher_exact  # slow to import, and seldom needed

    table = np.array([[bad, total - bad], [control_bad, control_total - control_bad]])
    return bool(fisher_exact(table, alternative="greater").pvalue < CONTROL_ALPHA)


def _higher(values: Sequence[float], control: Sequence[float]) -> bool:
    from scipy.stats import mannwhitneyu  # slow to import, and seldom needed

    test = mannwhitneyu(values, control, alternative="greater", method="asymptotic")
    effect = 2 * test.statistic / (len(values) * len(control)) - 1
    return bool(test.pvalue < CONTROL_ALPHA and effect >= CONTROL_EFFECT)
