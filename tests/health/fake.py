"""CloudWatch in memory: what the tests of a rollout read instead of AWS. Passes the same suite as the real adapter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from cellwave.fleet.model import AlarmSignal, ProbeSignal, QuantileSignal, RatioSignal, Signal
from cellwave.health.model import AlarmReading, ProbeReading, Reading, SeriesReading, Unreadable
from cellwave.health.ports import Scope

Place = tuple[str, str]  # account, AWS region
Metric = tuple[Place, str, str, frozenset[tuple[str, str]]]


class FakeSource:
    """A SignalSource that a test fills. `down` makes everything unreadable."""

    def __init__(self) -> None:
        self.down = ""
        self.points: dict[Metric, list[tuple[float, float]]] = defaultdict(list)
        self.alarms: dict[tuple[Place, str], AlarmReading] = {}
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

    def set_alarm(self, scope: Scope, name: str, state: str, since: float = 0.0) -> None:
        """Create the alarm, or move it to another state."""
        self.alarms[_place(scope), name] = AlarmReading(state=state, since=since)

    def read(self, signal: Signal, scope: Scope, since: float) -> Reading:
        """See SignalSource."""
        if self.down:
            return Unreadable(reason=self.down)
        match signal:
            case AlarmSignal():
                return self.alarms.get((_place(scope), signal.name), AlarmReading(state="MISSING"))
            case RatioSignal():
                bad = sum(self._values(signal, signal.bad, scope, since))
                return SeriesReading(bad=bad, total=sum(self._values(signal, signal.total, scope, since)))
            case QuantileSignal():
                values = self._values(signal, signal.metric, scope, since)
                return SeriesReading(
                    total=sum(self._values(signal, signal.total, scope, since)), values=values
                )
            case ProbeSignal():
                return ProbeReading(status=self.statuses.get(signal.url, 0))

    def _values(
        self, signal: RatioSignal | QuantileSignal, metric: str, scope: Scope, since: float
    ) -> tuple[float, ...]:
        points = self.points[_metric(scope, signal.namespace, metric, signal.dimensions)]
        return tuple(value for at, value in points if at >= since)


def _place(scope: Scope) -> Place:
    return (scope.account, scope.aws_region)


def _metric(scope: Scope, namespace: str, metric: str, dimensions: dict[str, str]) -> Metric:
    return (_place(scope), namespace, metric, frozenset(dimensions.items()))
