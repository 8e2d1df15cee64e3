"""CloudWatch as a source of signals: alarms and raw series, of an account and AWS region in as few calls as may be.

A period that began before the moment that is asked for holds data of the release before, so it does not count: at a
minute's resolution up to 59 seconds of data are given up. AWS delivers a metric one to three minutes late; a bake on
real AWS should last well over that.

Series are summed here, not by metric math: what was read can be shown, and an emulator can do it too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from email.utils import mktime_tz, parsedate_tz
from functools import lru_cache
from time import time
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.parsers import ResponseParserError

from cellwave.fleet.model import (
    AlarmSignal,
    ProbeSignal,
    QuantileReference,
    QuantileSignal,
    RatioReference,
    RatioSignal,
)
from cellwave.health.alarms import Alarms
from cellwave.health.aws import AWS_ERRORS, Clients, is_our_fault, unreadable
from cellwave.health.metrics import Line, Lines, Metrics, Series
from cellwave.health.model import AlarmReading, Period, Reading, SeriesReading, Unreadable
from cellwave.health.ports import Scope, Wanted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PERCENTILES = (5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0)
COVERAGE = 0.9  # the share of requests that must have a value
MOST_VALUES = 20_000
CLOCK_SECONDS = 2.0  # AWS tells its time in whole seconds

K = TypeVar("K")
V = TypeVar("V")
Measured = RatioSignal | QuantileSignal | RatioReference | QuantileReference


class CloudWatchSource:
    """Reads AlarmSignal, RatioSignal, QuantileSignal and the references beside them."""

    def __init__(self, clients: Clients | None = None) -> None:
        self._clients = clients or Clients()
        self._places: dict[tuple[str, str, str | None], _Place] = {}

    def read(self, wanted: Sequence[Wanted]) -> list[Reading]:
        """See SignalSource."""
        readings: list[Reading] = [Unreadable(reason="CloudWatch does not probe")] * len(wanted)
        places = defaultdict(list)
        for number, one in enumerate(wanted):
            if not isinstance(one.signal, ProbeSignal):
                places[place_of(one.scope)].append(number)
        for key, numbers in places.items():
            place = self._places.setdefault(key, _Place())
            asked = [wanted[number] for number in numbers]
            for number, reading in zip(numbers, place.read(self._clients, asked), strict=True):
                readings[number] = reading
        return readings


def place_of(scope: Scope) -> tuple[str, str, str | None]:
    """What is asked together: an account, an AWS region, and the role that opens them."""
    return (scope.account, scope.aws_region, scope.role)


class _Place:
    """What was read of a place, and by how many seconds its clock is `ahead` of this host's."""

    def __init__(self) -> None:
        self._alarms, self._metrics = Alarms(), Metrics()
        self._ahead = 0.0

    def read(self, clients: Clients, wanted: Sequence[Wanted]) -> list[Reading]:
        """What each says, by this host's clock; a clock that turns out to differ is allowed for at once."""
        what = f"CloudWatch of {', '.join(dict.fromkeys(one.scope.cell for one in wanted))}"
        try:
            client = clients.cloudwatch(wanted[0].scope)
        except AWS_ERRORS as error:
            return [unreadable(error, what)] * len(wanted)
        thought = self._ahead
        readings = self._read(client, wanted, what)
        if self._ahead != thought:
            readings = self._read(client, wanted, what)
        return [_shifted(reading, -self._ahead) for reading in readings]

    def _read(self, client: Any, wanted: Sequence[Wanted], what: str) -> list[Reading]:
        names: dict[str, float] = {}
        lines: dict[Lines, float] = {}
        moments = [one.since + self._ahead for one in wanted]
        for one, since in zip(wanted, moments, strict=True):
            if isinstance(one.signal, AlarmSignal):
                names[one.signal.name] = min(since, names.get(one.signal.name, since))
            elif not isinstance(one.signal, ProbeSignal):
                key = _lines(one.signal)
                lines[key] = min(since, lines.get(key, since))
        describe = self._pages(client.describe_alarms, "MetricAlarms", "CompositeAlarms")
        history = self._pages(client.describe_alarm_history, "AlarmHistoryItems")
        data = self._pages(client.get_metric_data, "MetricDataResults")
        alarms = _in_parts(names, lambda part: self._alarms.read(describe, history, part), what)
        series = _in_parts(lines, lambda part: self._metrics.read(data, part, time() + self._ahead), what)
        return [
            _of_alarm(alarms[one.signal.name], since)
            if isinstance(one.signal, AlarmSignal)
            else _of_series(one.signal, series[_lines(one.signal)], since)
            for one, since in zip(wanted, moments, strict=True)
            if not isinstance(one.signal, ProbeSignal)
        ]

    def _pages(self, operation: Callable[..., Any], *parts: str) -> Callable[..., Iterator[Any]]:
        """The operation, giving all pages of its answer, each of which has these parts."""

        def asked(**parameters: Any) -> Iterator[Any]:
            token: str | None = ""
            while token is not None:
                before = time()
                page = _answer(operation, parameters | ({"NextToken": token} if token else {}), parts)
                self._heard(page["ResponseMetadata"]["HTTPHeaders"].get("date", ""), before, time())
                yield page
                token = page.get("NextToken") or None

        return asked

    def _heard(self, date: str, before: float, after: float) -> None:
        """Take in what AWS says that the time is, in answer to what was asked and answered at these seconds of ours."""
        told = parsedate_tz(date)
        if told is None:
            return
        theirs = mktime_tz(told)
        ahead = 0.0 if before - 1 <= theirs <= after else theirs + 0.5 - (before + after) / 2
        if abs(ahead - self._ahead) > CLOCK_SECONDS:
            self._ahead = ahead


def _answer(operation: Callable[..., Any], parameters: Mapping[str, Any], parts: Sequence[str]) -> Any:
    try:
        page = operation(**parameters)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # The SDK stumbles over JSON that AWS would not send.
        raise ResponseParserError(f"an answer that can't be read: {error!r}") from error
    if missing := [part for part in parts if part not in page]:
        raise ResponseParserError(f"an answer without {', '.join(missing)}")
    return page


def _in_parts(
    asked: Mapping[K, float], ask: Callable[[Mapping[K, float]], Mapping[K, V]], what: str
) -> dict[K, V | Unreadable]:
    """All answers; what is wrong with one of what is asked for is not held against the others."""
    if not asked:
        return {}
    try:
        return dict(ask(asked))
    except AWS_ERRORS as error:
        if len(asked) == 1 or not is_our_fault(error):
            return dict.fromkeys(asked, unreadable(error, what))
    keys, half = list(asked), len(asked) // 2
    parts = [{key: asked[key] for key in some} for some in (keys[:half], keys[half:])]
    return _in_parts(parts[0], ask, what) | _in_parts(parts[1], ask, what)


def _lines(signal: Measured) -> Lines:
    """The series that it is read from."""

    def line(metric: str, statistic: str) -> Line:
        return (signal.namespace, metric, tuple(sorted(signal.dimensions.items()))), statistic

    if isinstance(signal, RatioSignal | RatioReference):
        bad = line(signal.bad, "Sum")
        return bad, line(signal.total, "Sum") if signal.total else line(signal.bad, "SampleCount")
    count = line(signal.metric, "SampleCount")
    total = line(signal.total, "Sum") if isinstance(signal, QuantileSignal) else count
    names = (*_points(signal), _rank(signal))
    return tuple(dict.fromkeys([total, count, *(line(signal.metric, name) for name in names)]))


def _rank(signal: QuantileSignal | QuantileReference) -> str:
    """The statistic that says how many percent of the values are above what may be."""
    return f"PR({Decimal(str(signal.at_most)).normalize():f}:)"


def _points(signal: QuantileSignal | QuantileReference) -> dict[str, float]:
    """Statistics of its distribution, and the share of values at or below each."""
    own = {signal.percentile} if isinstance(signal, QuantileSignal) else set()
    grid = {f"p{q:g}": q / 100 for q in sorted({*PERCENTILES, *own})}
    return {"Minimum": 0.0, **grid, "Maximum": 1.0}


def _of_alarm(reading: AlarmReading | Unreadable, since: float) -> Reading:
    if isinstance(reading, Unreadable):
        return reading
    later = tuple(red for red in reading.earlier if red.since >= int(since))
    return reading.model_copy(update={"earlier": later})


def _of_series(signal: Measured, series: Mapping[Line, Series] | str | Unreadable, since: float) -> Reading:
    if isinstance(series, Unreadable):
        return series
    if isinstance(series, str):
        return Unreadable(reason=series, cause="silence")
    lines = _lines(signal)
    found = {line: {at: v for at, v in series[line].items() if at >= since} for line in lines}
    if isinstance(signal, RatioSignal | RatioReference):
        bad, total = (found[line] for line in lines)
        return SeriesReading(
            periods=tuple(
                Period(at=at, bad=bad.get(at, 0.0), total=total.get(at, 0.0)) for at in sorted({*bad, *total})
            )
        )
    of_metric = {line[1]: found[line] for line in lines if line[0][1] == signal.metric}
    return _of_quantile(signal, of_metric, sum(found[lines[0]].values()))


def _of_quantile(
    signal: QuantileSignal | QuantileReference, series: Mapping[str, Series], total: float
) -> Reading:
    counts, points, ranks = series["SampleCount"], _points(signal), series[_rank(signal)]
    seen = sum(counts.values())
    if seen < COVERAGE * total:
        return Unreadable(reason=f"only {seen:g} of {total:g} requests have a {signal.metric}")
    periods = []
    columns = [(share, series[name]) for name, share in points.items()]
    for start, number in sorted(counts.items()):
        known = {share: column[start] for share, column in columns if start in column}
        if number > 2 and len(known) < len(points):
            return Unreadable(
                reason=f"{signal.metric} has no percentiles (it was published as statistic sets)"
            )
        values = spread(known, max(1, round(number * min(1, MOST_VALUES / seen))))
        above = number * ranks[start] / 100 if start in ranks else None
        total = len(values) if above is None else number
        periods.append(Period(at=start, total=total, values=tuple(values), above=above))
    return SeriesReading(periods=tuple(periods))


def spread(known: Mapping[float, float], count: int) -> list[float]:
    """`count` values whose distribution goes through `known` (share of values at or below, 0..1 -> value).

    CloudWatch gives statistics of a period, not its values. One or two values are exactly its minimum and maximum;
    of more, those between two known percentiles are laid on a line, so none is further off than that gap. They are for
    comparing with others: where most requests are quick and a few time out, a line has far too many above a limit.
    """
    import numpy as np  # see threshold.py

    shares = sorted(known)
    values: list[float] = np.interp(_ranks(count), shares, [known[s] for s in shares]).tolist()
    return values


@lru_cache(maxsize=4096)
def _ranks(count: int) -> npt.NDArray[np.float64]:
    import numpy as np

    return np.linspace(0, 1, count) if count > 1 else np.array([0.5])


def _shifted(reading: Reading, by: float) -> Reading:
    """The reading, its times put on by so many seconds."""
    match reading:
        case AlarmReading() if by:
            earlier = tuple(
                red.model_copy(update={"since": red.since + by, "until": red.until + by})
                for red in reading.earlier
            )
            return reading.model_copy(update={"since": reading.since + by, "earlier": earlier})
        case SeriesReading() if by:
            periods = (period._replace(at=period.at + by) for period in reading.periods)
            return SeriesReading(periods=tuple(periods))
    return reading
