"""CloudWatch in memory: what the tests of a rollout read instead of AWS. Passes the same suite as the real adapter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import isfinite

from cellwave.fleet.model import (
    AlarmSignal,
    ProbeSignal,
    QuantileReference,
    QuantileSignal,
    RatioReference,
    RatioSignal,
)
from cellwave.health.model import (
    AlarmPart,
    AlarmReading,
    Period,
    ProbeReading,
    Reading,
    Red,
    SeriesReading,
    Unreadable,
)
from cellwave.health.ports import Readable, Scope, Wanted

Place = tuple[str, str]  # account, AWS region
Metric = tuple[Place, str, str, frozenset[tuple[str, str]]]


class FakeSource:
    """A SignalSource that a test fills. `down` makes everything unreadable."""

    def __init__(self) -> None:
        self.down = ""
        self.points: dict[Metric, list[tuple[float, float]]] = defaultdict(list)
        self.alarms: dict[tuple[Place, str], list[AlarmReading]] = defaultdict(list)
        self.statuses: dict[str, int] = {}

    def put(
        self,
        scope: Scope,
        namespace: str,
        metric: str,
        dimensions: dict[str, str],
        points: Iterable[tuple[float, float]],
    ) -> None:
        """Publish (epoch seconds, value) points."""
        self.points[_metric(scope, namespace, metric, dimensions)] += points

    def set_alarm(
        self, scope: Scope, name: str, state: str, since: float = 0.0, parts: tuple[AlarmPart, ...] = ()
    ) -> None:
        """Create the alarm, or move it to another state."""
        self.alarms[_place(scope), name].append(AlarmReading(state=state, since=since, parts=parts))

    def read(self, wanted: Sequence[Wanted]) -> list[Reading]:
        """See SignalSource."""
        return [self.read_one(one.signal, one.scope, one.since) for one in wanted]

    def read_one(self, signal: Readable, scope: Scope, since: float) -> Reading:
        """One of what is wanted."""
        if self.down:
            return Unreadable(reason=self.down)
        match signal:
            case AlarmSignal():
                return self._alarm(signal, scope, since)
            case RatioSignal() | RatioReference():
                bad = self._values(signal, signal.bad, scope, since)
                total = self._values(signal, signal.total or signal.bad, scope, since)
                count = sum if signal.total else len
                return SeriesReading(
                    periods=tuple(
                        Period(at=at, bad=sum(bad.get(at, ())), total=count(total.get(at, ())))
                        for at in sorted({*bad, *total})
                    )
                )
            case QuantileSignal() | QuantileReference():
                found = self._values(signal, signal.metric, scope, since)
                return SeriesReading(
                    periods=tuple(
                        Period(at=at, total=len(values), values=tuple(values))
                        for at, values in sorted(found.items())
                    )
                )
            case ProbeSignal():
                return ProbeReading(status=self.statuses.get(signal.url, 0))

    def _alarm(self, signal: AlarmSignal, scope: Scope, since: float) -> AlarmReading:
        turns = self.alarms.get((_place(scope), signal.name), [])
        if not turns:
            return AlarmReading(state="MISSING")
        earlier = tuple(
            Red(since=red.since, until=after.since, parts=red.parts)
            for red, after in pairwise(turns)
            if red.state == "ALARM" and red.since >= int(since)
        )
        return turns[-1].model_copy(update={"earlier": earlier})

    def _values(
        self,
        signal: RatioSignal | QuantileSignal | RatioReference | QuantileReference,
        metric: str,
        scope: Scope,
        since: float,
    ) -> dict[float, list[float]]:
        found: dict[float, list[float]] = defaultdict(list)
        for at, value in self.points[_metric(scope, signal.namespace, metric, signal.dimensions)]:
            if at >= since and isfinite(value):
                found[at].append(value)
        return found


def _place(scope: Scope) -> Place:
    return (scope.account, scope.aws_region)


def _metric(scope: Scope, namespace: str, metric: str, dimensions: dict[str, str]) -> Metric:
    return (_place(scope), namespace, metric, frozenset(dimensions.items()))
