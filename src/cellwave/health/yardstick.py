"""Whether somebody without the release's code had the same trouble in the same minutes. Pure.

The time up to now is cut into slices of at least SLICE_SECONDS and CONTROL_SAMPLES of the yardstick's data points. In
a slice of trouble the yardstick breaks its own limit, by CONDEMNING data points or more. Which these are is read from
the yardstick alone, so the deployment's own data choose no window.

What a deployment did in those slices is excused, unless it is proven that it did worse there. That is proven as a
broken limit is, with the same chance of error however often one looks (threshold.py): of all that was bad, more than
its share of the data points is the deployment's; or, of its values in units of its own limit, more lie above the
yardstick's median than half and what makes an effect (rank-biserial correlation, equal to Cliff's delta) of
CONTROL_EFFECT, below which a difference is called negligible (Romano et al. 2006).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from cellwave.frozen import Frozen
from cellwave.health.model import Period, SeriesReading
from cellwave.health.series import Span, inside_of, outside_of
from cellwave.health.threshold import CONDEMNING, proves

SLICE_SECONDS = 30.0
CONTROL_SAMPLES = 30
CONTROL_EFFECT = 0.147


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

    def excuses(self, own: SeriesReading, limit: Limit, at: float, gates: int) -> tuple[Span, ...]:
        """The slices of trouble in which the deployment, one of so many `gates`, was not worse than this."""
        spans = self.troubled(at)
        mine, theirs = inside_of(own, spans), inside_of(self.reading, spans)
        return () if spans and _worse(mine, limit, theirs, self.limit, gates) else spans

    def outdone(self, own: SeriesReading, limit: Limit, spans: Sequence[Span], gates: int) -> bool:
        """Whether the deployment was worse than this outside of these slices, too. Trouble that is not bad enough to
        show in each slice would else be held against it in all the others."""
        theirs = outside_of(self.reading, spans)
        return not self.limit.count(theirs.periods)[1] or _worse(
            outside_of(own, spans), limit, theirs, self.limit, gates
        )


def _worse(mine: SeriesReading, limit: Limit, theirs: SeriesReading, their_limit: Limit, gates: int) -> bool:
    if limit.over and their_limit.over and theirs.values:
        usual = median(theirs.values) / their_limit.over
        above = sum(value / limit.over > usual for value in mine.values)
        return proves(above, len(mine.values), (1 + CONTROL_EFFECT) / 2, gates)
    (bad, total), (other_bad, other_total) = limit.count(mine.periods), their_limit.count(theirs.periods)
    return proves(bad, bad + other_bad, total / (total + other_total), gates)
