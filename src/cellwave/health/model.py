"""What gates see and say."""

from __future__ import annotations

from enum import StrEnum

from cellwave.frozen import Frozen


class Verdict(StrEnum):
    """A gate's verdict. Missing or unreadable data is never PASS."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"


class AlarmReading(Frozen):
    """A CloudWatch alarm's state: OK, ALARM or INSUFFICIENT_DATA; "MISSING" when there is no such alarm."""

    state: str
    reason: str = ""
    since: float = 0.0


class SeriesReading(Frozen):
    """Raw series newer than the cell's convergence. `bad` and `total` are sums; `values` are the metric's raw values
    with as many entries as samples (QuantileSignal), in the metric's unit."""

    total: float = 0.0
    bad: float = 0.0
    values: tuple[float, ...] = ()


class ProbeReading(Frozen):
    """An HTTP answer's status; 0 when there was none (`reason` says why)."""

    status: int
    reason: str = ""


class Unreadable(Frozen):
    """The signal could not be read."""

    reason: str


Reading = AlarmReading | SeriesReading | ProbeReading | Unreadable


class GateResult(Frozen):
    """One gate of one deployment: a verdict and the reason in words. `samples` is how many data points it saw."""

    cell: str
    service: str
    gate: str
    verdict: Verdict
    reason: str
    critical: bool = False
    samples: int = 0
    at: float = 0.0
