"""What holds of the judge whatever it is shown."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cellwave.fleet.model import AlarmSignal, ProbeSignal, QuantileSignal, RatioSignal, Signal
from cellwave.health.judge import BakeVerdict, Evidence, judge_bake, judge_gate
from cellwave.health.model import (
    AlarmReading,
    GateResult,
    Period,
    ProbeReading,
    Reading,
    SeriesReading,
    Unreadable,
    Verdict,
)
from cellwave.health.yardstick import Limit, Yardstick
from cellwave.waves.model import Bake

GATES = 50
WORSE = [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL]
COUNTS = st.integers(0, 400)
SHARES = st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0])
LATENCIES = st.lists(st.sampled_from([1.0, 100.0, 499.0, 500.0, 501.0, 5000.0]), max_size=80).map(tuple)
PERIODS = st.lists(
    st.builds(Period, at=st.floats(-90, 0), bad=COUNTS.map(float), total=COUNTS.map(float), values=LATENCIES),
    max_size=4,
).map(lambda periods: tuple(sorted(periods, key=lambda p: p.at)))
SERIES = st.builds(SeriesReading, periods=PERIODS)
CONTROLS = st.none() | SERIES
READINGS: st.SearchStrategy[Reading] = st.one_of(
    SERIES,
    st.builds(AlarmReading, state=st.sampled_from(["OK", "ALARM", "INSUFFICIENT_DATA", "MISSING", ""])),
    st.builds(ProbeReading, status=st.sampled_from([0, 200, 500])),
    st.builds(Unreadable, reason=st.just("no")),
)
RESULTS = st.lists(
    st.builds(
        GateResult,
        cell=st.sampled_from(["c1", "c2", "c3"]),
        service=st.sampled_from(["ingest", "query"]),
        gate=st.sampled_from(["alarm", "errors"]),
        verdict=st.sampled_from(Verdict),
        reason=st.just("because"),
        critical=st.booleans(),
    ),
    max_size=8,
)
BAKES = st.builds(Bake, seconds=st.floats(0.1, 100), samples=st.integers(0, 100), limit=st.floats(0, 200))


def errors(at_most: float) -> RatioSignal:
    """A ratio gate."""
    return RatioSignal(namespace="N", bad="5xx", total="Count", dimensions={}, at_most=at_most)


def latency(percentile: float) -> QuantileSignal:
    """A latency gate at 500."""
    return QuantileSignal(
        namespace="N", metric="Latency", total="Count", dimensions={}, percentile=percentile, at_most=500
    )


SIGNALS: st.SearchStrategy[Signal] = st.one_of(
    SHARES.map(errors),
    st.sampled_from([50.0, 90.0, 99.0]).map(latency),
    st.just(AlarmSignal(name="red")),
    st.just(ProbeSignal(url="http://x/")),
)


def counts(bad: int, total: int) -> SeriesReading:
    """A ratio's reading, just now."""
    return SeriesReading(periods=(Period(at=-1, bad=bad, total=total),))


def timed(values: tuple[float, ...]) -> SeriesReading:
    """A quantile's reading, just now."""
    return SeriesReading(periods=(Period(at=-1, values=values),))


def beside(control: SeriesReading | None) -> Evidence:
    """A control group, or none."""
    return Evidence(twins=(control,) if control else ())


def judge(signal: Signal, reading: Reading, control: SeriesReading | None, min_samples: int = 30) -> Verdict:
    """The verdict alone."""
    return judge_gate(
        signal,
        reading,
        beside(control),
        min_samples=min_samples,
        gates=GATES,
        cell="c",
        service="s",
        gate="g",
        at=0,
    ).verdict


@given(at_most=SHARES, total=COUNTS, bad=COUNTS, more=COUNTS, needed=COUNTS, control=CONTROLS)
def test_more_errors_never_improve_a_verdict(
    *, at_most: float, total: int, bad: int, more: int, needed: int, control: SeriesReading | None
) -> None:
    """Of as many requests, the same with more errors is at least as bad."""
    bad, worse = min(bad, total), min(bad + more, total)
    before = judge(errors(at_most), counts(bad, total), control, needed)
    after = judge(errors(at_most), counts(worse, total), control, needed)
    assert WORSE.index(after) >= WORSE.index(before)


@given(at_most=SHARES, total=COUNTS, bad=COUNTS)
def test_another_error_never_takes_a_fail_back(at_most: float, total: int, bad: int) -> None:
    """A condemned service that answers one more request with an error stays condemned."""
    bad = min(bad, total)
    if judge(errors(at_most), counts(bad, total), None) is Verdict.FAIL:
        assert judge(errors(at_most), counts(bad + 1, total + 1), None) is Verdict.FAIL


@given(values=LATENCIES, percentile=st.sampled_from([50.0, 90.0, 99.0]), times=st.integers(1, 9))
def test_slower_requests_never_improve_a_verdict(
    values: tuple[float, ...], percentile: float, times: int
) -> None:
    """The same requests, each slower, are at least as bad."""
    slower = tuple(value * times for value in values)
    before = judge(latency(percentile), timed(values), None)
    after = judge(latency(percentile), timed(slower), None)
    assert WORSE.index(after) >= WORSE.index(before)


@given(signal=SIGNALS, reading=READINGS, control=CONTROLS, needed=st.integers(0, 100))
def test_no_data_never_passes(
    signal: Signal, reading: Reading, control: SeriesReading | None, needed: int
) -> None:
    """A PASS has seen an alarm that is OK, an answer, or at least one data point and as many as were asked for."""
    found = judge_gate(
        signal,
        reading,
        beside(control),
        min_samples=needed,
        gates=GATES,
        cell="c",
        service="s",
        gate="g",
        at=0,
    )
    if found.verdict is Verdict.PASS:
        assert found.samples >= max(1, needed) or isinstance(reading, AlarmReading | ProbeReading)
        assert reading in (AlarmReading(state="OK"), ProbeReading(status=200)) or isinstance(
            reading, SeriesReading
        )


@given(signal=SIGNALS, reading=READINGS, control=SERIES)
def test_a_control_group_only_ever_exonerates(
    signal: Signal, reading: Reading, control: SeriesReading
) -> None:
    """It makes no verdict worse, and nothing passes that would not pass on its newest data alone."""
    alone, compared = judge(signal, reading, None), judge(signal, reading, control)
    if compared is not alone:
        assert alone in {Verdict.FAIL, Verdict.INCONCLUSIVE}
        assert compared is not Verdict.FAIL
    if compared is Verdict.PASS and alone is not Verdict.PASS:
        # Then better minutes did it, and would have on their own.
        newer = [
            SeriesReading(periods=reading.periods[n:]) if isinstance(reading, SeriesReading) else reading
            for n in range(1, 5)
        ]
        assert Verdict.PASS in {judge(signal, rest, None) for rest in newer}


@given(
    results=RESULTS, bake=BAKES, elapsed=st.floats(0, 300), order=st.randoms(), tolerance=st.integers(0, 2)
)
def test_the_order_of_cells_does_not_matter(
    results: list[GateResult], bake: Bake, elapsed: float, order: Random, tolerance: int
) -> None:
    """Whichever cell was read first, the verdict is the same."""
    shuffled = list(results)
    order.shuffle(shuffled)
    one = judge_bake(results, bake, elapsed, tolerance=tolerance)
    two = judge_bake(shuffled, bake, elapsed, tolerance=tolerance)
    assert one.verdict is two.verdict


@given(results=RESULTS, more=RESULTS, bake=BAKES, early=st.floats(0, 300), late=st.floats(0, 300))
def test_a_fail_stays_a_fail(
    results: list[GateResult], more: list[GateResult], bake: Bake, early: float, late: float
) -> None:
    """Neither more time nor more gates take it back."""
    if judge_bake(results, bake, early).verdict is BakeVerdict.FAIL:
        assert judge_bake([*results, *more], bake, late).verdict is BakeVerdict.FAIL


@given(results=RESULTS, bake=BAKES, elapsed=st.floats(0, 300))
def test_a_bake_passes_only_when_every_gate_does(
    results: list[GateResult], bake: Bake, elapsed: float
) -> None:
    """Without tolerance, PASS means that the time is over and nothing but PASS was seen."""
    if judge_bake(results, bake, elapsed).verdict is BakeVerdict.PASS:
        assert elapsed >= bake.seconds
        assert {r.verdict for r in results} <= {Verdict.PASS}


@given(results=RESULTS, bake=BAKES)
def test_a_bake_always_comes_to_an_end(results: list[GateResult], bake: Bake) -> None:
    """At the limit nobody waits any longer."""
    assert judge_bake(results, bake, max(bake.limit, bake.seconds)).verdict is not BakeVerdict.WAIT


@given(signal=SIGNALS, reading=READINGS, healthy=st.lists(st.sampled_from([0.0, 1.0, 499.0]), max_size=80))
def test_a_reference_without_trouble_changes_no_verdict(
    signal: Signal, reading: Reading, healthy: list[float]
) -> None:
    """Whatever the release does, a platform that keeps within its limits excuses nothing."""
    periods = tuple(Period(at=-60 + n, total=1, values=(value,)) for n, value in enumerate(healthy))
    for limit in (Limit(share=0.1, over=500), Limit(share=0.0)):
        yardstick = Yardstick(name="r", reading=SeriesReading(periods=periods), limit=limit)
        evidence = Evidence(reference=yardstick)
        found = judge_gate(
            signal, reading, evidence, min_samples=30, gates=GATES, cell="c", service="s", gate="g", at=0
        )
        assert found.verdict is judge(signal, reading, None)
        assert not found.excused


@given(reading=SERIES, share=SHARES)
def test_trouble_up_to_now_lets_nothing_pass_that_did_not(reading: SeriesReading, share: float) -> None:
    """Excused is INCONCLUSIVE: a FAIL never becomes a PASS while the platform is in trouble."""
    bad = SeriesReading(periods=tuple(Period(at=float(at), bad=1, total=1) for at in range(-120, 0)))
    evidence = Evidence(reference=Yardstick(name="r", reading=bad, limit=Limit(share=0.01)))
    signal = errors(share)
    found = judge_gate(
        signal, reading, evidence, min_samples=30, gates=GATES, cell="c", service="s", gate="g", at=0
    )
    if judge(signal, reading, None) is not Verdict.PASS:
        assert found.verdict is not Verdict.PASS


@given(signal=SIGNALS, reading=READINGS, seen=SERIES, limit=SHARES, over=st.sampled_from([None, 500.0]))
def test_what_is_left_out_for_others_sake_condemns_nobody(
    signal: Signal, reading: Reading, seen: SeriesReading, limit: float, over: float | None
) -> None:
    """A FAIL is one of all data: who chooses slices of time has not one more chance to be unlucky."""
    yardstick = Yardstick(name="r", reading=seen, limit=Limit(share=limit, over=over))
    evidence = Evidence(reference=yardstick)
    found = judge_gate(
        signal, reading, evidence, min_samples=30, gates=GATES, cell="c", service="s", gate="g", at=0
    )
    assert found.verdict is not Verdict.FAIL or judge(signal, reading, None) is Verdict.FAIL
