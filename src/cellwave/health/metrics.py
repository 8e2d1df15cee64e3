"""Metrics of one account and AWS region: read in as few calls as may be, and from what was read before on.

A call of GetMetricData takes 500 queries. CloudWatch fills the newest periods late, so each look reads the last
OVERLAP_SECONDS again, and what it finds takes the place of what was there. Series whose newest points are older than
that may have more to come: they are read from their beginning again. What was read is kept in memory alone, so a new
process begins anew. All times here are CloudWatch's own.

Resolution. AWS services publish a point a minute (API Gateway and Lambda do), custom metrics and the sandbox a point
a second, which CloudWatch keeps for three hours. Both are asked for until all of a signal's series have points, and
the finest counts that all which have any points have.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil, inf, isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

SECOND, MINUTE = 1, 60  # periods
QUERIES_A_CALL = 500
OVERLAP_SECONDS = 900.0
SECONDS_KEPT = 3 * 3600 - 120.0  # for how long points of a second can be had

Metric = tuple[str, str, tuple[tuple[str, str], ...]]  # namespace, name, dimensions
Line = tuple[Metric, str]  # metric, statistic
Lines = tuple[Line, ...]  # what is read together
Series = Mapping[float, float]  # period's start (epoch seconds) -> value
Call = Callable[..., Iterable[Any]]  # an operation of AWS's: all pages of its answer
Query = tuple[Line, int]  # and its period
Packed = tuple["array[float]", "array[float]"]  # periods' starts in their order, and their values
_NOTHING: Packed = (array("d"), array("d"))


@dataclass(frozen=True)
class Kept:
    """What was read from `since` on up to `until`. Points of a second are whole from `seconds_from` on; `periods` are
    those still to be asked for. Points are two arrays a series, a tenth of what a dictionary of them takes."""

    since: float
    until: float
    seconds_from: float
    periods: tuple[int, ...] = (SECOND, MINUTE)
    found: Mapping[Query, Packed] = field(default_factory=dict)

    def goes_on(self, lines: Lines, since: float, now: float) -> bool:
        """Whether it is enough to read what is newer."""
        newest = min(max(self._newest(line, period) for period in self.periods) for line in lines)
        lost = SECOND in self.periods and self.until - OVERLAP_SECONDS < now - SECONDS_KEPT
        return self.since <= since and newest >= self.until - OVERLAP_SECONDS and not lost

    def has(self, line: Line, period: int) -> bool:
        """Whether a line has any points."""
        return bool(self.found.get((line, period), _NOTHING)[0])

    def series(self, line: Line, period: int, since: float) -> dict[float, float]:
        """The points of a line from then on."""
        moments, values = self.found.get((line, period), _NOTHING)
        begin = bisect_left(moments, since)
        return dict(zip(moments[begin:], values[begin:], strict=True))

    def _newest(self, line: Line, period: int) -> float:
        moments, _ = self.found.get((line, period), _NOTHING)
        return moments[-1] if moments else -inf


class Metrics:
    """What was read of one place's metrics."""

    def __init__(self) -> None:
        self._kept: dict[Lines, Kept] = {}

    def read(
        self, call: Call, wanted: Mapping[Lines, float], now: float
    ) -> dict[Lines, Mapping[Line, Series] | str]:
        """The series of each from periods that began at or after the given second, at one resolution; all empty when
        there is no data at all, and a text when they could not be read whole."""
        bases = {lines: self._base(lines, since, now) for lines, since in wanted.items()}
        answers: dict[Query, Series | str] = {}
        for start, queries in _calls(bases, now):
            answers |= _fetch(call, queries, start, now + MINUTE)
        found: dict[Lines, Mapping[Line, Series] | str] = {}
        for lines, base in bases.items():
            kept = merged(base, lines, answers, now)
            if isinstance(kept, Kept):
                self._kept[lines] = kept
                found[lines] = view(kept, lines, wanted[lines])
            else:
                found[lines] = kept
        # Other looks may be at the same place just now.
        known = list(self._kept.items())
        self._kept = {lines: kept for lines, kept in known if kept.until > now - SECONDS_KEPT}
        return found

    def _base(self, lines: Lines, since: float, now: float) -> Kept:
        kept = self._kept.get(lines)
        if kept and kept.goes_on(lines, since, now):
            return kept
        oldest = ceil((now - SECONDS_KEPT) / MINUTE) * MINUTE
        return Kept(since=since, until=-inf, seconds_from=max(since, oldest))


def merged(base: Kept, lines: Lines, answers: Mapping[Query, Series | str], now: float) -> Kept | str:
    """What was kept and what is newer; a text when not all of it could be read. A period in which any of the lines has
    no number, but NaN or infinity, is as if there were none."""
    found = dict(base.found)
    for period in base.periods:
        fresh: dict[Line, Series] = {}
        for line in lines:
            answer = answers.get((line, period), "no answer")
            if isinstance(answer, str):
                return f"{line[0][1]}: {answer}"
            fresh[line] = answer
        lost = {at for series in fresh.values() for at, value in series.items() if not isfinite(value)}
        begin = min((min(series) for series in fresh.values() if series), default=inf)
        for line, series in fresh.items():
            found[line, period] = _joined(base.found.get((line, period), _NOTHING), series, begin, lost)
    whole = (period for period in base.periods if all(found[line, period][0] for line in lines))
    settled = next(whole, None)
    return Kept(base.since, now, base.seconds_from, (settled,) if settled else base.periods, found)


def _joined(old: Packed, fresh: Series, begin: float, lost: set[float]) -> Packed:
    """Old points, and fresh ones in their place; none of `lost`. None of either is older than `begin`."""
    cut = bisect_left(old[0], begin)
    newer = {**dict(zip(old[0][cut:], old[1][cut:], strict=True)), **fresh}
    moments = sorted(newer.keys() - lost)
    return old[0][:cut] + array("d", moments), old[1][:cut] + array("d", map(newer.__getitem__, moments))


def view(kept: Kept, lines: Lines, since: float) -> dict[Line, Series]:
    """The lines at the finest resolution that all with any points have; minutes where seconds are kept no more."""
    if any(kept.has(line, MINUTE) and not kept.has(line, SECOND) for line in lines):
        return {line: kept.series(line, MINUTE, since) for line in lines}
    begin = max(since, kept.seconds_from)
    return {
        line: {at: v for at, v in kept.series(line, MINUTE, since).items() if at <= begin - MINUTE}
        | kept.series(line, SECOND, begin)
        for line in lines
    }


def _calls(bases: Mapping[Lines, Kept], now: float) -> list[tuple[float, list[Query]]]:
    """What is to be asked, and from which second on: what is new together, and what is old together, as CloudWatch
    keeps it (it has nothing to say of seconds in a call that goes further back than these are kept)."""
    starts: dict[Query, float] = {}
    for lines, base in bases.items():
        start = max(base.since, base.until - OVERLAP_SECONDS)
        for period in base.periods:
            begin = max(start, base.seconds_from) if period == SECOND else start
            for line in lines:
                starts[line, period] = min(begin, starts.get((line, period), inf))
    calls = []
    for oldest in (now - 2 * OVERLAP_SECONDS, now - SECONDS_KEPT, -inf):
        queries = [query for query, start in starts.items() if start >= oldest]
        for first in range(0, len(queries), QUERIES_A_CALL):
            chunk = queries[first : first + QUERIES_A_CALL]
            calls.append((min(starts[query] for query in chunk), chunk))
        starts = {query: start for query, start in starts.items() if start < oldest}
    return calls


def _fetch(call: Call, queries: Sequence[Query], start: float, end: float) -> dict[Query, Series | str]:
    named = {f"q{number}": query for number, query in enumerate(queries)}
    series: dict[Query, dict[float, float]] = {query: {} for query in queries}
    status: dict[Query, str] = {}
    pages = call(
        MetricDataQueries=[_query(name, query) for name, query in named.items()],
        StartTime=datetime.fromtimestamp(start - start % MINUTE, UTC),
        EndTime=datetime.fromtimestamp(end, UTC),
    )
    for page in pages:
        for result in page["MetricDataResults"]:
            query = named[result["Id"]]
            status[query] = result.get("StatusCode", "no status")
            for at, value in zip(result["Timestamps"], result["Values"], strict=True):
                series[query][at.timestamp()] = value
    # Of what takes more than one page, all but the last say PartialData.
    return {
        query: series[query] if status.get(query) == "Complete" else status.get(query, "no answer")
        for query in queries
    }


def _query(name: str, query: Query) -> MetricDataQueryTypeDef:
    ((namespace, metric, dimensions), statistic), period = query
    return {
        "Id": name,
        "MetricStat": {
            "Metric": {
                "Namespace": namespace,
                "MetricName": metric,
                "Dimensions": [{"Name": n, "Value": v} for n, v in dimensions],
            },
            "Period": period,
            "Stat": statistic,
        },
    }
