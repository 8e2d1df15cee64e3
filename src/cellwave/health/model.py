"""What gates see and say."""

from __future__ import annotations

import math
from enum import StrEnum
from itertools import chain
from typing import Literal, NamedTuple

from pydantic import SkipValidation, field_validator

from cellwave.errors import Fault
from cellwave.frozen import Frozen


class Verdict(StrEnum):
    """A gate's verdict. Missing or unreadable data is never PASS."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"


class AlarmPart(Frozen):
    """A metric alarm: by itself, or one that a composite is made of. `over` is its threshold in the metric's unit,
    `statistic` Sum, Average or a percentile such as p90, `window` the seconds it looks back."""

    state: str
    namespace: str
    metric: str
    dimensions: dict[str, str] = {}
    statistic: str = ""
    over: float = 0.0
    window: float = 0.0

    @property
    def watches(self) -> tuple[str, str, str]:
        """What it has in common with the same alarm of another cell."""
        return (self.namespace, self.metric, self.statistic)


class Red(Frozen):
    """A stretch of time (epoch seconds) in which an alarm was red. `parts` are the metric alarms that made it so, where
    that is known: nothing but those did."""

    since: float
    until: float = math.inf
    reason: str = ""
    parts: tuple[AlarmPart, ...] = ()


class AlarmReading(Frozen):
    """A CloudWatch alarm's state since when it has it (epoch seconds): OK, ALARM or INSUFFICIENT_DATA; "MISSING" when
    there is no such alarm.

    `parts` are those of the red that it shows now; `earlier` is when it turned red since the moment that was asked for
    and is no more, the oldest first.
    """

    state: str
    reason: str = ""
    since: float = 0.0
    parts: tuple[AlarmPart, ...] = ()
    earlier: tuple[Red, ...] = ()

    @property
    def reds(self) -> tuple[Red, ...]:
        """Every red, what it shows now last."""
        if self.state != "ALARM":
            return self.earlier
        return (*self.earlier, Red(since=self.since, reason=self.reason, parts=self.parts))


class Period(NamedTuple):
    """What was counted from the epoch second `at` on. `values` are a metric's raw values, in its unit, or have their
    distribution; `above` is how many of the `total` are above what may be, where that was counted."""

    at: float
    bad: float = 0.0
    total: float = 0.0
    values: tuple[float, ...] = ()
    above: float | None = None


def _is_number(period: Period) -> bool:
    return 0 <= period.bad < math.inf and 0 <= period.total < math.inf and 0 <= (period.above or 0) < math.inf


def _finite(period: Period) -> Period:
    if math.isfinite(sum(period.values)) or all(map(math.isfinite, period.values)):
        return period
    values = tuple(filter(math.isfinite, period.values))
    return period._replace(values=values, total=min(period.total, len(values)), above=None)


class SeriesReading(Frozen):
    """Raw series newer than the cell's convergence, the oldest period first. What is no number (NaN, an infinity, less
    than nothing of something) is no data, and dropped."""

    periods: SkipValidation[tuple[Period, ...]] = ()  # a look makes a million

    @field_validator("periods")
    @classmethod
    def _numbers(cls, periods: tuple[Period, ...]) -> tuple[Period, ...]:
        return tuple(_finite(period) for period in periods if _is_number(period))

    @property
    def newest(self) -> float | None:
        """When its newest period began (epoch seconds); None when there is none."""
        return self.periods[-1].at if self.periods else None

    @property
    def bad(self) -> float:
        """The sum of what was bad."""
        return sum(period.bad for period in self.periods)

    @property
    def total(self) -> float:
        """The sum of all."""
        return sum(period.total for period in self.periods)

    @property
    def values(self) -> tuple[float, ...]:
        """The metric's values, with as many entries as samples."""
        return tuple(chain.from_iterable(period.values for period in self.periods))


class ProbeReading(Frozen):
    """An HTTP answer's status; 0 when there was none (`reason` says why)."""

    status: int
    reason: str = ""


class Unreadable(Frozen):
    """The signal could not be read: what was read is none ("signal"), whoever was asked gave no answer ("silence"), or
    they could not even be asked, for want of a name, a way or a credential ("way"): `fault` is the kind of that."""

    reason: str
    cause: Literal["signal", "silence", "way"] = "signal"
    fault: Fault | None = None


Reading = AlarmReading | SeriesReading | ProbeReading | Unreadable


class GateResult(Frozen):
    """One gate of one deployment: a verdict and the reason in words. `samples` is how many data points it saw;
    `excused` that cells without the release, or a reference, showed the same trouble."""

    cell: str
    service: str
    gate: str
    verdict: Verdict
    reason: str
    critical: bool = False
    excused: bool = False
    samples: int = 0
    at: float = 0.0
