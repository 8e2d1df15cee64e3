"""What the judge says, by example."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

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
from cellwave.waves.model import Bake

ERRORS = RatioSignal(namespace="N", bad="5xx", total="Count", dimensions={}, at_most=0.01)
LATENCY = QuantileSignal(
    namespace="N", metric="Latency", total="Count", dimensions={}, percentile=90, at_most=1500
)
ALARM = AlarmSignal(name="red")
GATES = 5
BAKE = Bake(seconds=10, samples=30, limit=60)


def gate(
    signal: Signal,
    reading: Reading,
    control: SeriesReading | None = None,
    *,
    min_samples: int = 30,
    since: float = 0.0,
    at: float = 1.0,
    anew: float = math.inf,
) -> GateResult:
    """The verdict on one gate, in a rollout of five."""
    return judge_gate(
        signal,
        reading,
        Evidence(twins=(control,) if control else ()),
        min_samples=min_samples,
        gates=GATES,
        cell="c1",
        service="query",
        gate="errors",
        at=at,
        since=since,
        anew=anew,
    )


def result(verdict: Verdict, cell: str = "c1", name: str = "errors", *, critical: bool = False) -> GateResult:
    """A gate's result in a cell."""
    return GateResult(
        cell=cell, service="query", gate=name, verdict=verdict, reason="because", critical=critical
    )


def ratio(bad: float, total: float) -> SeriesReading:
    """A reading of a ratio."""
    return SeriesReading(periods=(Period(at=0.5, bad=bad, total=total),))


def values(*parts: tuple[int, float]) -> SeriesReading:
    """A reading of a quantile: so many times each value."""
    flat = tuple(value for times, value in parts for _ in range(times))
    return SeriesReading(periods=(Period(at=0.5, total=len(flat), values=flat),) if flat else ())


@pytest.mark.parametrize(
    ("reading", "verdict"),
    [
        (ratio(0, 40), Verdict.PASS),
        (ratio(5, 40), Verdict.FAIL),
        (ratio(1, 3), Verdict.INCONCLUSIVE),  # thin evidence
        (ratio(2, 2), Verdict.INCONCLUSIVE),  # one hiccup and its retry
        (ratio(3, 3), Verdict.FAIL),
        (ratio(1, 40), Verdict.INCONCLUSIVE),  # over the limit, but one in forty may be chance
        (ratio(1, 100), Verdict.PASS),  # exactly at the limit
        (ratio(10_000, 1_000_000), Verdict.PASS),
        (ratio(10_200, 1_000_000), Verdict.INCONCLUSIVE),
        (ratio(10_500, 1_000_000), Verdict.FAIL),
        (ratio(0, 29), Verdict.INCONCLUSIVE),
        (ratio(0, 0), Verdict.INCONCLUSIVE),
        (Unreadable(reason="no access"), Verdict.ERROR),
        (AlarmReading(state="OK"), Verdict.ERROR),
    ],
)
def test_a_ratio_is_judged_by_share_and_by_evidence(reading: Reading, verdict: Verdict) -> None:
    """At most 1 % may be bad, and blame needs at least three bad points that chance does not explain."""
    found = gate(ERRORS, reading)
    assert found.verdict is verdict, found.reason


def test_a_verdict_says_in_words_what_it_saw() -> None:
    """The reason holds the counts, the share and the limit."""
    assert gate(ERRORS, ratio(5, 40)).reason == "5xx: 5 of 40 (12.5%) are bad, at most 1% allowed"
    assert gate(ERRORS, ratio(0, 12)).reason == "5xx: 12 of 30 data points, 0 bad"
    slow = gate(LATENCY, values((20, 20.0), (20, 1600.0)))
    assert slow.reason == "Latency: 20 of 40 (50.0%) are above 1500, at most 10% allowed; p90 is 1600"


def test_an_error_counted_without_its_request_is_one_of_one() -> None:
    """More bad than total is all bad, never a share over one."""
    counted = SeriesReading(periods=(Period(at=0, bad=5, total=3), Period(at=0.5, total=0)))
    assert gate(ERRORS, counted).samples == 5
    assert gate(ERRORS, counted).verdict is Verdict.FAIL


def test_errors_of_the_newest_period_wait_for_its_requests() -> None:
    """The two series of a ratio arrive apart: five errors of six thousand requests that are still to be counted."""
    early = SeriesReading(periods=(Period(at=0, bad=0, total=40), Period(at=0.5, bad=5, total=0)))
    assert gate(ERRORS, early).verdict is Verdict.PASS
    late = SeriesReading(periods=(*early.periods, Period(at=0.8, total=1)))
    assert gate(ERRORS, late).verdict is Verdict.FAIL


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_data(odd: float) -> None:
    """It neither passes nor condemns, alone or among others."""
    for wrong in (ratio(odd, 100), ratio(0, odd), ratio(-1, 100), values((100, odd))):
        for signal in (ERRORS, LATENCY):
            found = gate(signal, wrong)
            assert (found.verdict, found.samples) == (Verdict.INCONCLUSIVE, 0), found.reason
    mixed = gate(LATENCY, values((40, 20.0), (40, odd)))
    assert (mixed.verdict, mixed.samples) == (Verdict.PASS, 40)
    counted = Period(at=0.5, total=2, values=(9000.0, odd), above=2)
    assert gate(LATENCY, SeriesReading(periods=(counted,))).reason.startswith("Latency: 1 of 1 ")
    among = SeriesReading(periods=(Period(at=0, bad=odd, total=9), *ratio(0, 40).periods))
    assert (gate(ERRORS, among).verdict, gate(ERRORS, among).samples) == (Verdict.PASS, 40)


@pytest.mark.parametrize(
    ("moments", "longest"),
    [
        (range(0, 100, 1), 30),  # a point a second
        (range(0, 100, 10), 60),  # one every ten seconds: six gaps
        (range(0, 600, 60), 360),  # CloudWatch's minutes, which come minutes late
        ([0], 360),  # nobody knows how often it comes
    ],
)
def test_data_that_has_stopped_passes_nothing(moments: Sequence[int], longest: int) -> None:
    """What was seen of a service that no request reaches any more says nothing of now."""
    data = SeriesReading(periods=tuple(Period(at=at, total=50) for at in moments))
    empty = Period(at=moments[-1] + 5_000, total=0)  # that nothing came is no data point
    found = [gate(ERRORS, data, at=moments[-1] + longest + late) for late in (0, 1)]
    assert [one.verdict for one in found] == [Verdict.PASS, Verdict.INCONCLUSIVE]
    assert found[1].reason.endswith(f"no data since {longest + 1} s")
    silent = data.model_copy(update={"periods": (*data.periods, empty)})
    assert gate(ERRORS, silent, at=empty.at).verdict is Verdict.INCONCLUSIVE


def test_data_that_has_stopped_condemns_all_the_same() -> None:
    """The service that answers nothing any more was condemned by its last answers."""
    assert gate(ERRORS, ratio(20, 40), at=10_000).verdict is Verdict.FAIL
    assert gate(LATENCY, values((40, 9000.0)), at=10_000).verdict is Verdict.FAIL


def hours(*parts: tuple[int, float]) -> SeriesReading:
    """Two requests a second until each of these moments, so many of them bad."""
    begun, periods = 0, []
    for until, bad in parts:
        periods += [Period(at=at, bad=bad, total=2) for at in range(begun, until)]
        begun = until
    return SeriesReading(periods=tuple(periods))


def test_what_goes_wrong_late_is_not_made_up_for_by_hours_that_went_well() -> None:
    """After a length of a bake it is judged anew: 20 bad requests of 14,420 condemn at once, not after minutes."""
    late = hours((7200, 0), (7210, 2))
    assert gate(ERRORS, late, at=7210).verdict is Verdict.PASS
    found = gate(ERRORS, late, at=7210, anew=600)
    assert found.verdict is Verdict.FAIL
    assert found.reason == "5xx: 20 of 20 (100.0%) are bad, at most 1% allowed, in the last 10 seconds"
    slow = SeriesReading(
        periods=tuple(
            Period(at=at, total=2, values=(9000.0 if at >= 7200 else 90.0,) * 2) for at in range(7230)
        )
    )
    assert gate(LATENCY, slow, at=7230, anew=600).verdict is Verdict.FAIL
    assert gate(LATENCY, slow, at=7230, anew=600, min_samples=100).verdict is Verdict.PASS


def test_a_gate_that_keeps_its_limit_is_not_condemned_by_being_judged_anew() -> None:
    """Each further time has less of the chance, and one mishap never does."""
    kept = hours(*((at, 0.02) for at in range(600, 7200, 600)))
    assert gate(ERRORS, kept, at=6600, anew=600).verdict is Verdict.PASS
    mishap = hours((7200, 0), (7201, 2), (7210, 0))
    assert gate(ERRORS, mishap, at=7210, anew=600).verdict is Verdict.PASS


def test_what_goes_wrong_late_for_others_too_is_excused() -> None:
    """The control group has the same trouble in the same seconds."""
    late, others = hours((7200, 0), (7260, 1)), hours((7200, 0), (7260, 1))
    assert gate(ERRORS, late, at=7260, anew=600).verdict is Verdict.FAIL
    found = gate(ERRORS, late, others, at=7260, anew=600)
    assert (found.verdict, found.excused) == (Verdict.INCONCLUSIVE, True)


def test_a_signal_with_a_traffic_of_its_own_needs_its_own_samples() -> None:
    """A batch processor passes on three invocations where requests need thirty."""
    processor = ERRORS.model_copy(update={"min_samples": 3})
    assert gate(processor, ratio(0, 3)).verdict is Verdict.PASS
    assert gate(processor, ratio(0, 2)).verdict is Verdict.INCONCLUSIVE


def test_a_limit_of_nothing_still_wants_three() -> None:
    """`at_most: 0` condemns at the third bad point, and never passes with one."""
    never = ERRORS.model_copy(update={"at_most": 0.0})
    assert gate(never, ratio(1, 1000)).verdict is Verdict.INCONCLUSIVE
    assert gate(never, ratio(3, 1000)).verdict is Verdict.FAIL
    assert gate(never, ratio(0, 1000)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("reading", "verdict"),
    [
        (values((40, 20.0)), Verdict.PASS),
        (values((36, 20.0), (4, 9000.0)), Verdict.PASS),  # a tenth may be slow
        (values((34, 20.0), (6, 9000.0)), Verdict.INCONCLUSIVE),
        (values((20, 20.0), (20, 1501.0)), Verdict.FAIL),
        (values((4, 9000.0)), Verdict.INCONCLUSIVE),  # may be cold starts
        (values((30, 9000.0)), Verdict.FAIL),
        (values((12, 20.0)), Verdict.INCONCLUSIVE),
        (values(), Verdict.INCONCLUSIVE),
        (ratio(0, 500), Verdict.INCONCLUSIVE),
    ],
)
def test_a_quantile_is_judged_by_how_many_are_above(reading: Reading, verdict: Verdict) -> None:
    """p90 at most 1500 means that at most a tenth of the values may be above 1500."""
    found = gate(LATENCY, reading)
    assert found.verdict is verdict, found.reason


def test_what_was_counted_above_the_limit_is_what_counts() -> None:
    """Values of which only percentiles are known are no count; where nobody counted, they have to do."""
    of_200 = Period(at=0.5, total=200, values=(9000.0,) * 40, above=20)
    assert gate(LATENCY, SeriesReading(periods=(of_200,))).verdict is Verdict.PASS
    both = SeriesReading(periods=(of_200, *values((30, 9000.0)).periods))
    assert gate(LATENCY, both).reason.startswith("Latency: 50 of 230 (21.7%) are above 1500")
    assert gate(LATENCY, SeriesReading(periods=(of_200._replace(above=math.nan),))).samples == 0


def test_a_control_group_that_is_as_bad_takes_the_blame_away() -> None:
    """When cells without the release fail alike, the release is not to blame, and nothing passes either."""
    assert gate(ERRORS, ratio(5, 40), ratio(10, 90)).verdict is Verdict.INCONCLUSIVE
    slow = values((20, 20.0), (20, 1600.0))
    assert gate(LATENCY, slow, values((40, 20.0), (45, 1600.0))).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("control", "why"),
    [
        (ratio(0, 500), "healthy"),
        (ratio(1, 120), "within the limit, although too small to tell apart"),
        (ratio(2, 20), "as bad, but fewer than thirty points"),
        (ratio(2, 120), "over the limit, but far less than the release"),
        (ratio(0, 0), "silent"),
        (None, "nobody left"),
    ],
)
def test_a_control_group_that_proves_nothing_leaves_the_blame(
    control: SeriesReading | None, why: str
) -> None:
    """Only a control group with data that breaks the limit itself exonerates."""
    assert gate(ERRORS, ratio(8, 40), control).verdict is Verdict.FAIL, why


def test_a_latency_clearly_worse_than_a_bad_control_group_fails() -> None:
    """The control group breaks the limit too, but the release is much slower still."""
    control = values((70, 20.0), (20, 1600.0))
    assert gate(LATENCY, values((5, 20.0), (35, 4000.0)), control).verdict is Verdict.FAIL


def test_a_control_group_never_condemns() -> None:
    """Within the limit is within the limit, however well other cells do."""
    assert gate(ERRORS, ratio(2, 400), ratio(0, 100_000)).verdict is Verdict.PASS
    assert gate(LATENCY, values((40, 1400.0)), values((400, 5.0))).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("reading", "verdict"),
    [
        (AlarmReading(state="OK"), Verdict.PASS),
        (AlarmReading(state="ALARM", since=200), Verdict.FAIL),
        (AlarmReading(state="ALARM", since=100), Verdict.FAIL),  # whole seconds: not known to be older
        (AlarmReading(state="ALARM", since=99), Verdict.INCONCLUSIVE),  # old news
        (AlarmReading(state="INSUFFICIENT_DATA"), Verdict.INCONCLUSIVE),
        (AlarmReading(state="MISSING"), Verdict.ERROR),
        (AlarmReading(state="odd"), Verdict.ERROR),
        (Unreadable(reason="no access"), Verdict.ERROR),
    ],
)
def test_an_alarm_fails_at_once_and_passes_only_when_ok(reading: Reading, verdict: Verdict) -> None:
    """Everything but OK withholds the PASS; ALARM is a FAIL unless it was red before the release converged."""
    assert gate(ALARM, reading, since=100.4).verdict is verdict


@pytest.mark.parametrize(
    ("status", "verdict"), [(200, Verdict.PASS), (503, Verdict.FAIL), (0, Verdict.ERROR)]
)
def test_a_probe_without_an_answer_is_an_error(status: int, verdict: Verdict) -> None:
    """A wrong answer is a FAIL; none at all may be this side's network."""
    assert gate(ProbeSignal(url="http://x/"), ProbeReading(status=status)).verdict is verdict


def test_a_bake_passes_on_time_and_data_together() -> None:
    """Neither the seconds nor the data points alone are enough."""
    good, thin = result(Verdict.PASS), result(Verdict.INCONCLUSIVE, name="latency")
    assert judge_bake([good], BAKE, 9.9).verdict is BakeVerdict.WAIT
    assert judge_bake([good], BAKE, 10).verdict is BakeVerdict.PASS
    assert judge_bake([good, thin], BAKE, 59).verdict is BakeVerdict.WAIT


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.ERROR])
def test_what_is_not_known_at_the_limit_waits_for_a_person(verdict: Verdict) -> None:
    """Too little traffic and unreadable signals extend the bake up to its limit, and end INCONCLUSIVE."""
    decision = judge_bake([result(Verdict.PASS, name="alarm"), result(verdict)], BAKE, 60)
    assert decision.verdict is BakeVerdict.INCONCLUSIVE
    assert "c1.query errors: because" in decision.reason


def test_a_limit_below_the_seconds_means_the_seconds() -> None:
    """A bake without a limit is not extended."""
    bake = Bake(seconds=10, samples=30)
    assert judge_bake([result(Verdict.ERROR)], bake, 9).verdict is BakeVerdict.WAIT
    assert judge_bake([result(Verdict.ERROR)], bake, 10).verdict is BakeVerdict.INCONCLUSIVE


def test_a_failing_gate_ends_the_bake_at_once() -> None:
    """Nobody waits for the rest of the bake, and the whole rollout goes back."""
    decision = judge_bake([result(Verdict.PASS, name="alarm"), result(Verdict.FAIL)], BAKE, 0.5)
    assert decision.verdict is BakeVerdict.FAIL
    assert [r.gate for r in decision.failing] == ["errors"]


def test_no_bake_asked_for_passes_at_once() -> None:
    """A bake of nothing is somebody's decision not to look; a FAIL that was seen anyway still counts."""
    decision = judge_bake([result(Verdict.INCONCLUSIVE)], Bake(), 0)
    assert (decision.verdict, decision.reason) == (BakeVerdict.PASS, "no bake asked for")
    assert judge_bake([result(Verdict.FAIL)], Bake(), 0).verdict is BakeVerdict.FAIL


def test_services_without_gates_pass_on_time_alone_and_say_so() -> None:
    """There is nothing to read where nobody declared anything."""
    assert judge_bake([], BAKE, 9).verdict is BakeVerdict.WAIT
    assert judge_bake([], BAKE, 10).reason == "no gate is declared; 10 seconds passed"


@pytest.mark.parametrize(
    ("others", "rolls_back"),
    [
        ([result(Verdict.PASS, "c2")], False),
        ([], True),  # the wave's only cell: nothing says that it is the cell
        ([result(Verdict.FAIL, "c2")], True),  # the same gate in two cells
        ([result(Verdict.FAIL, "c2", "latency")], True),  # two cells, one tolerated
        ([result(Verdict.PASS, "c2"), result(Verdict.FAIL, name="alarm", critical=True)], True),
    ],
)
def test_tolerance_lets_a_lone_cell_fail(others: list[GateResult], rolls_back: bool) -> None:
    """One cell may fail where one is tolerated, unless it is the release that must be at fault."""
    decision = judge_bake([result(Verdict.FAIL), *others], BAKE, 10, tolerance=1)
    assert decision.verdict is (BakeVerdict.FAIL if rolls_back else BakeVerdict.PASS)
    assert decision.failing
