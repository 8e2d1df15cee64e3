"""Whether somebody without the release's code had the same trouble in the same minutes. Pure.

The time up to now is cut into slices of at least SLICE_SECONDS and CONTROL_SAMPLES of the yardstick's data points. In
a slice of trouble the yardstick breaks its own limit, by CONDEMNING data points or more. Which these are is read from
the yardstick alone, so the deployment's own data choose no window. Trouble that is too mild to show in any slice may
show on the whole; and where HINT or more are bad, a yardstick is not free of it unless it had so few with a chance of
less than CLEAR, if it fared as the deployment did.

What a deployment did while its yardstick was in trouble is excused, unless it is proven that it did worse. Slice by
slice (whatever befell both in one weighs nothing): of all that was bad, more than its share of the data points is the
deployment's; or, of its values in units of its own limit, more lie above the yardstick's median than half and what
makes an effect (rank-biserial correlation, equal to Cliff's delta) of CONTROL_EFFECT, below which a difference is
called negligible (Romano et al. 2006). It is proven by bets, as a broken limit is (threshold.py): here on a binomial
share whose odds are higher than by chance, equally on each of ODDS. The slices are the newest, for what goes wrong
after trouble, or the calmest, for what does between troubles; the chance of error is divided by the number of choices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from statistics import median
from typing import NamedTuple

from cellwave.frozen import Frozen
from cellwave.health.model import Period, SeriesReading
from cellwave.health.series import Span, inside_of
from cellwave.health.threshold import CONDEMNING, condemns, evidence_wanted

SLICE_SECONDS = 30.0
CONTROL_SAMPLES = 30
CONTROL_EFFECT = 0.147
HINT = 2  # one bad data point is anybody's
CLEAR = 0.01
ODDS = tuple(1.5 * (5000 / 1.5) ** (n / 6) for n in range(7))


class Limit(Frozen):
    """At most `share` (0..1) of the data points may be bad; with `over`, those above that value are."""

    share: float
    over: float | None = None

    def count(self, periods: Sequence[Period]) -> tuple[int, int]:
        """How many data points are bad, of how many."""
        counts = [self.of(period) for period in periods]
        return in_whole(sum(bad for bad, _ in counts), sum(total for _, total in counts))

    def of(self, period: Period) -> tuple[float, float]:
        """How many of a period's data points are bad, of how many."""
        return (period.bad, period.total) if self.over is None else _above(period, self.over)

    def broken(self, periods: Sequence[Period]) -> bool:
        """Whether more are bad than may be, and not just one or two."""
        bad, total = self.count(periods)
        return bad >= CONDEMNING and bad > self.share * total


def in_whole(bad: float, total: float) -> tuple[int, int]:
    """Counts as whole numbers. The two series arrive on their own: an error may be counted before the request that it
    belongs to."""
    return round(bad), max(round(bad), round(total))


def _above(period: Period, over: float) -> tuple[float, float]:
    if period.above is not None:
        return period.above, period.total
    return sum(value > over for value in period.values), len(period.values)


class Yardstick(Frozen):
    """A series without the release's code, and its own limit. `name` says in words what it is."""

    name: str
    reading: SeriesReading
    limit: Limit

    def troubled(self, own: SeriesReading, limit: Limit, at: float) -> tuple[Span, ...]:
        """The slices up to `at` (epoch seconds) in which it broke its limit, the newest first; where it did so in none,
        all of its time when on the whole it did, or may have as much trouble as the deployment."""
        slices, whole = self._slices(at), self.reading.periods
        found = tuple(span for span, periods in slices if self.limit.broken(periods))
        if found or not slices:
            return found
        from scipy.special import bdtr  # see threshold.py

        (bad, total), (my_bad, mine) = self.limit.count(whole), limit.count(own.periods)
        alike = bad >= HINT and mine and bdtr(bad, total, my_bad / mine) > CLEAR
        return ((whole[0].at, math.inf),) if alike or self.limit.broken(whole) else ()

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

    def outdone(self, own: SeriesReading, limit: Limit, at: float, gates: int) -> bool:
        """Whether the deployment, one of so many `gates`, broke its limit and did worse than this, both in the same
        slices up to `at` (epoch seconds): the newest, or the calmest."""
        begun = own.periods[0].at if own.periods else at  # before that nothing befell both
        newest = [
            _compare(inside_of(own, [span]), limit, [p for p in part if p.at >= begun], self.limit)
            for span, part in self._slices(at)
        ]
        calmest = sorted(newest, key=lambda both: both.trouble)
        wanted = evidence_wanted(gates, ways=4 * max(1, len(newest)))
        return any(
            max(by_counts, by_values) >= wanted and condemns(bad, total, limit.share, gates)
            for some in (newest, calmest)
            for by_counts, by_values, bad, total in zip(
                _evidence(both.counts for both in some),
                _evidence(both.values for both in some),
                accumulate(both.bad for both in some),
                accumulate(both.total for both in some),
                strict=True,
            )
        )


class _Trials(NamedTuple):
    """So many hits of so many trials; `share` (0..1) of them are hits by chance."""

    hits: int
    of: int
    share: float


class _Slice(NamedTuple):
    """A deployment and a yardstick in a slice of time.

    So many of the deployment's data points are bad, of so many. Bad ones are the share `trouble` of those of both, and
    this favours neither. `counts`: of all that was bad, what the deployment's is; `values`: of its values, those above
    the yardstick's median.
    """

    bad: int
    total: int
    trouble: float
    counts: _Trials
    values: _Trials


def _compare(own: SeriesReading, limit: Limit, theirs: Sequence[Period], their_limit: Limit) -> _Slice:
    (bad, total), (other_bad, other_total) = limit.count(own.periods), their_limit.count(theirs)
    both = total + other_total or 1
    above, of, usual = 0, 0, [value for period in theirs for value in period.values]
    if limit.over and their_limit.over and usual:
        middle = median(usual) / their_limit.over
        above, of = sum(value / limit.over > middle for value in own.values), len(own.values)
    return _Slice(
        bad=bad,
        total=total,
        trouble=(bad + other_bad) / both,
        counts=_Trials(bad, bad + other_bad, total / both),
        values=_Trials(above, of, (1 + CONTROL_EFFECT) / 2),
    )


def _evidence(trials: Iterable[_Trials]) -> Iterator[float]:
    """The logarithm of what 1, betted on more hits than by chance, has become after each."""
    import numpy as np  # see threshold.py

    odds = np.array(ODDS)
    money = np.zeros(len(odds))
    for hits, of, share in trials:
        money = money + hits * np.log(odds) - of * np.log1p(share * (odds - 1))
        yield float(np.logaddexp.reduce(money)) - math.log(len(odds))
