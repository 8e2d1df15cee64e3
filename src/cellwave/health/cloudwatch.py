"""CloudWatch as a source of signals: alarms as they stand, and raw series since a deployment converged.

Resolution. AWS services publish a point a minute (API Gateway and Lambda do), custom metrics and the sandbox a point
a second. Both are asked for in one request and the finest that has data is taken. A period that began before `since`
holds data of the release before, so it does not count: at a minute's resolution up to 59 seconds of data are given
up. AWS delivers a metric one to three minutes late; a bake on real AWS should last well over that.

Series are summed here, not by metric math: what was read can be shown, and an emulator can do it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Any

import numpy as np
from botocore.exceptions import BotoCoreError, ClientError

from cellwave.fleet.model import (
    AlarmSignal,
    ProbeSignal,
    QuantileReference,
    QuantileSignal,
    RatioReference,
    RatioSignal,
)
from cellwave.health.aws import Clients
from cellwave.health.model import AlarmPart, AlarmReading, Period, Reading, SeriesReading, Unreadable
from cellwave.health.ports import Readable, Scope

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import (
        DimensionTypeDef,
        MetricDataQueryTypeDef,
        MetricDataResultTypeDef,
        MetricStatTypeDef,
        MetricTypeDef,
    )

PERIODS = (1, 60)  # seconds, the finest first
PERCENTILES = (5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0)
COVERAGE = 0.9  # the share of requests that must have a value
MOST_VALUES = 20_000

Stat = tuple[str, str]  # metric, statistic
Series = dict[float, float]  # period's start (epoch seconds) -> value
Measured = RatioSignal | QuantileSignal | RatioReference | QuantileReference

# A composite alarm's rule of which nothing but red children makes it red; and their names in it.
CHILD = re.compile(r"""ALARM\(\s*["']?(?:arn:[^"'()\s]*:alarm:)?([^"'()]+?)["']?\s*\)""")
OF_ALARMS = re.compile(rf"(?:{CHILD.pattern}|\bOR\b|\bAND\b|[()\s])+")
DEEPEST = 4


class CloudWatchSource:
    """Reads AlarmSignal, RatioSignal, QuantileSignal and the references beside them."""

    def __init__(self, clients: Clients | None = None) -> None:
        self._clients = clients or Clients()

    def read(self, signal: Readable, scope: Scope, since: float) -> Reading:
        """See SignalSource."""
        try:
            match signal:
                case AlarmSignal():
                    return self._alarm(signal, scope)
                case RatioSignal() | RatioReference():
                    return self._ratio(signal, scope, since)
                case QuantileSignal() | QuantileReference():
                    return self._quantile(signal, scope, since)
                case ProbeSignal():
                    return Unreadable(reason="CloudWatch does not probe")
        except (BotoCoreError, ClientError) as error:
            return Unreadable(reason=f"CloudWatch of {scope.cell}: {error}")

    def _alarm(self, signal: AlarmSignal, scope: Scope) -> AlarmReading:
        for alarm in self._described([signal.name], scope):
            # StateUpdatedTimestamp moves on AWS when only the reason changes.
            turned = alarm.get("StateTransitionedTimestamp") or alarm["StateUpdatedTimestamp"]
            reason = alarm.get("StateReason", "")
            parts = tuple(self._parts(alarm, scope)) if alarm["StateValue"] == "ALARM" else ()
            return AlarmReading(
                state=alarm["StateValue"], reason=reason, since=turned.timestamp(), parts=parts
            )
        return AlarmReading(state="MISSING")

    def _described(self, names: Sequence[str], scope: Scope) -> list[Any]:
        answer = self._clients.cloudwatch(scope).describe_alarms(
            AlarmNames=names, AlarmTypes=["MetricAlarm", "CompositeAlarm"], MaxRecords=100
        )
        return [*answer["MetricAlarms"], *answer["CompositeAlarms"]]

    def _parts(self, alarm: Any, scope: Scope, depth: int = 0) -> Iterator[AlarmPart]:
        """The metric alarms below; none when a rule says more than that one of them is red."""
        if "AlarmRule" not in alarm:
            yield _part(alarm)
        elif OF_ALARMS.fullmatch(alarm["AlarmRule"]) and depth < DEEPEST:
            for child in self._described(CHILD.findall(alarm["AlarmRule"])[:100], scope):
                yield from self._parts(child, scope, depth + 1)

    def _ratio(self, signal: RatioSignal | RatioReference, scope: Scope, since: float) -> Reading:
        bad = (signal.bad, "Sum")
        total = (signal.total, "Sum") if signal.total else (signal.bad, "SampleCount")
        series = self._series(signal, (bad, total), scope, since)
        if isinstance(series, Unreadable):
            return series
        periods = (
            Period(at=at, bad=series[bad].get(at, 0.0), total=series[total].get(at, 0.0))
            for at in sorted({*series[bad], *series[total]})
        )
        return SeriesReading(periods=tuple(periods))

    def _quantile(self, signal: QuantileSignal | QuantileReference, scope: Scope, since: float) -> Reading:
        own = {signal.percentile} if isinstance(signal, QuantileSignal) else set()
        grid = {f"p{q:g}": q / 100 for q in sorted({*PERCENTILES, *own})}
        points = {"Minimum": 0.0, **grid, "Maximum": 1.0}
        stats = [(signal.metric, name) for name in ("SampleCount", *points)]
        count = (signal.total, "Sum") if isinstance(signal, QuantileSignal) else stats[0]
        series = self._series(signal, list(dict.fromkeys([*stats, count])), scope, since)
        if isinstance(series, Unreadable):
            return series
        counts = series[signal.metric, "SampleCount"]
        total, seen = sum(series[count].values()), sum(counts.values())
        if seen < COVERAGE * total:
            return Unreadable(reason=f"only {seen:g} of {total:g} requests have a {signal.metric}")
        periods = []
        for start, number in sorted(counts.items()):
            known = {
                x: series[signal.metric, p][start]
                for p, x in points.items()
                if start in series[signal.metric, p]
            }
            if number > 2 and len(known) < len(points):
                return Unreadable(
                    reason=f"{signal.metric} has no percentiles (it was published as statistic sets)"
                )
            values = spread(known, max(1, round(number * min(1, MOST_VALUES / seen))))
            periods.append(Period(at=start, total=len(values), values=tuple(values)))
        return SeriesReading(periods=tuple(periods))

    def _series(
        self, signal: Measured, stats: Sequence[Stat], scope: Scope, since: float
    ) -> dict[Stat, Series] | Unreadable:
        """The statistics' series at the finest resolution that has any data, from periods that began at or after
        `since`. All empty when there is no data at all."""
        asked = {f"m{i}_{period}": (period, stat) for period in PERIODS for i, stat in enumerate(stats)}
        found: dict[int, dict[Stat, Series]] = {period: {stat: {} for stat in stats} for period in PERIODS}
        for result in self._fetch([_query(id_, signal, *ask) for id_, ask in asked.items()], scope, since):
            if result.get("StatusCode") not in ("Complete", "PartialData"):
                return Unreadable(reason=f"{result.get('Label')}: {result.get('StatusCode')}")
            period, stat = asked[result["Id"]]
            for start, value in zip(result["Timestamps"], result["Values"], strict=True):
                if start.timestamp() >= since:
                    found[period][stat][start.timestamp()] = value
        return next((series for series in found.values() if any(series.values())), found[PERIODS[-1]])

    def _fetch(
        self, queries: Sequence[MetricDataQueryTypeDef], scope: Scope, since: float
    ) -> Iterable[MetricDataResultTypeDef]:
        pages = self._clients.cloudwatch(scope).get_paginator("get_metric_data")
        for page in pages.paginate(
            MetricDataQueries=queries,
            StartTime=datetime.fromtimestamp(since - since % 60, UTC),
            EndTime=datetime.fromtimestamp(time() + 60, UTC),
        ):
            yield from page["MetricDataResults"]


def _query(id_: str, signal: Measured, period: int, stat: Stat) -> MetricDataQueryTypeDef:
    metric, statistic = stat
    dimensions: list[DimensionTypeDef] = [{"Name": n, "Value": v} for n, v in signal.dimensions.items()]
    where: MetricTypeDef = {"Namespace": signal.namespace, "MetricName": metric, "Dimensions": dimensions}
    asked: MetricStatTypeDef = {"Metric": where, "Period": period, "Stat": statistic}
    return {"Id": id_, "MetricStat": asked}


def _part(alarm: Any) -> AlarmPart:
    return AlarmPart(
        state=alarm["StateValue"],
        namespace=alarm.get("Namespace", ""),
        metric=alarm.get("MetricName", ""),
        dimensions={d["Name"]: d["Value"] for d in alarm.get("Dimensions", ())},
        statistic=alarm.get("ExtendedStatistic") or alarm.get("Statistic", ""),
        over=alarm.get("Threshold", 0.0),
        window=alarm.get("Period", 60) * alarm.get("EvaluationPeriods", 1),
    )


def spread(known: Mapping[float, float], count: int) -> list[float]:
    """`count` values whose distribution goes through `known` (share of values at or below, 0..1 -> value).

    CloudWatch gives statistics of a period, not its values. One or two values are exactly its minimum and maximum;
    of more, those between two known percentiles are laid on a line, so none is further off than that gap.
    """
    shares = sorted(known)
    ranks = np.linspace(0, 1, count) if count > 1 else [0.5]
    return [float(v) for v in np.interp(ranks, shares, [known[s] for s in shares])]
