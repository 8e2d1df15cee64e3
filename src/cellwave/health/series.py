"""Parts of series, and for how long they have been silent. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cellwave.health.model import Period, SeriesReading

QUIET_SECONDS = 30.0
QUIET_GAPS = 6
LONGEST_PERIOD = 60.0  # seconds; of a single data point nobody knows how often it comes

Span = tuple[float, float]  # epoch seconds: from, before


def inside_of(reading: SeriesReading, spans: Sequence[Span]) -> SeriesReading:
    """The part of a series within any of the spans."""
    kept = (p for p in reading.periods if any(start <= p.at < end for start, end in spans))
    return SeriesReading(periods=tuple(kept))


def outside_of(reading: SeriesReading, spans: Sequence[Span]) -> SeriesReading:
    """The part of a series in none of the spans."""
    kept = (p for p in reading.periods if not any(start <= p.at < end for start, end in spans))
    return SeriesReading(periods=tuple(kept))


def pool(readings: Iterable[SeriesReading]) -> SeriesReading:
    """The series of many cells as one."""
    periods = (period for reading in readings for period in reading.periods)
    return SeriesReading(periods=tuple(sorted(periods, key=lambda period: period.at)))


def settled(reading: SeriesReading) -> SeriesReading:
    """Without the newest period while more of it is bad than all of it: its requests are still to be counted."""
    newest = reading.periods[-1] if reading.periods else Period(at=0)
    return SeriesReading(periods=reading.periods[:-1]) if newest.bad > newest.total else reading


def quiet(reading: SeriesReading, at: float) -> float:
    """For how many seconds no data point came, when that is longer than by its own rhythm it should be (else 0).

    QUIET_GAPS allow for what CloudWatch takes: a point a minute is seen four to five minutes after its period began.
    """
    moments = [period.at for period in reading.periods if period.total or period.values]
    gap = (moments[-1] - moments[0]) / (len(moments) - 1) if len(moments) > 1 else LONGEST_PERIOD
    silence = at - moments[-1] if moments else 0.0
    return silence if silence > max(QUIET_SECONDS, QUIET_GAPS * gap) else 0.0
