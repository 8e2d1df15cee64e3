"""Who else had the same trouble in the same minutes: what excuses a gate, and what doesn't."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from cellwave.fleet.model import AlarmSignal, ProbeSignal, QuantileSignal, RatioSignal, Signal
from cellwave.health.judge import Evidence, PartEvidence, judge_bake, judge_gate
from cellwave.health.model import (
    AlarmPart,
    AlarmReading,
    GateResult,
    Period,
    ProbeReading,
    Reading,
    Red,
    SeriesReading,
    Verdict,
)
from cellwave.health.series import inside_of
from cellwave.health.yardstick import Limit, Yardstick
from cellwave.waves.model import Bake

NOW = 1000.0
GATES = 5
LATENCY = QuantileSignal(
    namespace="N", metric="Latency", total="Count", dimensions={}, percentile=90, at_most=3000
)
ERRORS = RatioSignal(namespace="N", bad="5xx", total="Count", dimensions={}, at_most=0.01)
PROBE = ProbeSignal(url="http://x/")
SLOW = AlarmPart(state="ALARM", namespace="N", metric="Latency", statistic="p90", over=5000, window=15)
FAILING = AlarmPart(state="ALARM", namespace="N", metric="5xx", statistic="Average", over=0.01, window=15)
QUIET = SLOW.model_copy(update={"state": "OK"})


def judge(
    signal: Signal, reading: Reading, evidence: Evidence, gates: int = GATES, at: float = NOW
) -> GateResult:
    """A gate's result."""
    return judge_gate(
        signal,
        reading,
        evidence,
        min_samples=12,
        gates=gates,
        cell="c",
        service="s",
        gate="g",
        at=at,
        since=900,
    )


def series(*stretches: tuple[float, float, float]) -> SeriesReading:
    """Two values a second, from and before these seconds."""
    return SeriesReading(
        periods=tuple(
            Period(at=at, total=2, values=(value, value))
            for start, end, value in stretches
            for at in range(int(start), int(end))
        )
    )


def second_by_second(periods: Iterable[Period], first: int = 0) -> SeriesReading:
    """What was counted in each second from the first on."""
    return SeriesReading(periods=tuple(p._replace(at=float(at)) for at, p in enumerate(periods, first)))


def counted(failed: Iterable[int], calls: int, first: int = 0) -> SeriesReading:
    """So many of so many calls failed in each second from the first on."""
    return second_by_second((Period(at=0, bad=bad, total=calls) for bad in failed), first)


def timed(took: Iterable[Iterable[float]]) -> SeriesReading:
    """What the calls of each second took."""
    return second_by_second(Period(at=0, values=tuple(values)) for values in took)


def condemned(signal: Signal, own: SeriesReading, reference: Yardstick, looks: Iterable[int]) -> bool:
    """Whether any of these looks, each of which sees what came before it, says FAIL in a rollout of 50 gates."""

    def seen(reading: SeriesReading, at: int) -> SeriesReading:
        return inside_of(reading, [(-math.inf, at)])

    return any(
        judge(
            signal,
            seen(own, at),
            Evidence(reference=reference.model_copy(update={"reading": seen(reference.reading, at)})),
            50,
            at=at,
        ).verdict
        is Verdict.FAIL
        for at in looks
    )


def counts(bad: int, total: int, at: float = NOW - 5) -> SeriesReading:
    """A ratio's reading."""
    return SeriesReading(periods=(Period(at=at, bad=bad, total=total),))


def platform(reading: SeriesReading, at_most: float = 500) -> Yardstick:
    """A reference whose p90 may be 500."""
    return Yardstick(name="the reference", reading=reading, limit=Limit(share=0.1, over=at_most))


def failing(reading: SeriesReading) -> Yardstick:
    """A reference of which 1 % may fail."""
    return Yardstick(name="the reference", reading=reading, limit=Limit(share=0.01))


def failures(bad: int, total: int) -> Yardstick:
    """A reference of which 1 % may fail."""
    return failing(counts(bad, total))


def red(*parts: AlarmPart) -> AlarmReading:
    """An alarm that has turned red since the release."""
    return AlarmReading(state="ALARM", since=950, parts=parts)


def test_a_platform_that_is_as_slow_excuses_a_latency_and_passes_nothing() -> None:
    """Both are 1.2 times over their limits: nobody knows, and the bake goes on."""
    found = judge(LATENCY, series((970, 1000, 3600)), Evidence(reference=platform(series((940, 1000, 600)))))
    assert (found.verdict, found.excused) == (Verdict.INCONCLUSIVE, True)


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        (series((940, 1000, 20)), "no trouble at all"),
        (series((940, 1000, 499)), "within its own limit"),
        (series((995, 1000, 600)), "too few data points"),
        (series(), "silent"),
    ],
)
def test_a_reference_that_shows_no_trouble_excuses_nothing(reference: SeriesReading, why: str) -> None:
    """However slow the release is."""
    evidence = Evidence(reference=platform(reference))
    assert judge(LATENCY, series((970, 1000, 3600)), evidence).verdict is Verdict.FAIL, why


def test_a_release_slower_than_the_slow_platform_is_condemned() -> None:
    """Three seconds of its own on top of the platform's trouble."""
    evidence = Evidence(reference=platform(series((940, 1000, 600))))
    assert judge(LATENCY, series((970, 1000, 6600)), evidence).verdict is Verdict.FAIL


@pytest.mark.parametrize(("times", "least", "most"), [(1, 0, 1), (3, 30, 30)])
def test_looking_again_and_again_finds_the_worse_alone_worse_than_a_platform_in_trouble(
    times: int, least: int, most: int
) -> None:
    """Of 30 bakes with a platform a tenth of whose calls fail, or which is slow; nine looks half a minute apart. The
    trouble does not show in every half minute, and that must not be held against what has it too."""
    chance, found = np.random.default_rng(1), {"failing": 0, "slow": 0}
    for _ in range(30):
        failed, others = (chance.binomial(n, s, 300) for n, s in ((4, 0.1 * times), (2, 0.1)))
        waited, slow = (chance.lognormal(0, 1, (300, n)) * by for n, by in ((4, 3000.0 * times), (2, 500.0)))
        looks = range(60, 301, 30)
        found["failing"] += condemned(ERRORS, counted(failed, 4), failing(counted(others, 2)), looks)
        found["slow"] += condemned(LATENCY, timed(waited), platform(timed(slow)), looks)
    assert all(least <= count <= most for count in found.values()), found


@pytest.mark.parametrize("share", [0.02, 0.05])
def test_mild_trouble_of_a_platform_that_is_called_less_often_is_not_held_against_a_release(
    share: float,
) -> None:
    """Of 30 good releases, called ten times as often as the reference, nearly none; of as many that fail five times as
    often all are. The trouble shows in hardly any half minute of the few calls."""
    chance, found = np.random.default_rng(2), {"as often": 0, "more often": 0}
    for _ in range(30):
        reference = failing(counted(chance.binomial(2, share, 330), 2, first=-30))
        for name, times in (("as often", 1), ("more often", 5)):
            own = counted(chance.binomial(20, times * share, 300), 20)
            found[name] += condemned(ERRORS, own, reference, range(60, 301, 60))
    assert found["as often"] <= 2, found
    assert found["more often"] >= 28, found


def test_what_fails_between_a_platforms_troubles_is_the_releases() -> None:
    """A twentieth of its calls fail in calm minutes too; the platform's troubles, alike for both, don't hide it."""
    minutes = [bool(at % 80 < 20) for at in range(400)]
    theirs = second_by_second(Period(at=0, bad=4 * trouble, total=8) for trouble in minutes)
    reference = failing(theirs)
    for every, verdict in ((5, Verdict.FAIL), (1000, Verdict.PASS)):
        failed = [4 * trouble or 2 * (at % every == 4) for at, trouble in enumerate(minutes)]
        own = second_by_second(Period(at=0, bad=bad, total=8) for bad in failed)
        assert judge(ERRORS, own, Evidence(reference=reference), 50, at=400).verdict is verdict, every


@pytest.mark.parametrize("own", [counts(0, 0), counts(0, 5), SeriesReading()])
def test_too_little_is_not_excused_by_others_trouble(own: SeriesReading) -> None:
    """It is no trouble at all, and wants a bake's limit, not its patience."""
    found = judge(ERRORS, own, Evidence(reference=failures(20, 60)))
    assert (found.verdict, found.excused) == (Verdict.INCONCLUSIVE, False)
    assert "trouble" not in found.reason


def test_better_minutes_decide() -> None:
    """Once the platform has recovered, only what came after counts, either way."""
    recovered = Evidence(reference=platform(series((900, 960, 600), (960, 1000, 20))))
    assert judge(LATENCY, series((900, 960, 3600), (960, 1000, 60)), recovered).verdict is Verdict.PASS
    assert judge(LATENCY, series((900, 960, 3600), (960, 1000, 3600)), recovered).verdict is Verdict.FAIL


def test_bad_minutes_before_the_trouble_or_after_it_condemn_however_good_the_others_were() -> None:
    """Neither does trouble that comes make the minutes before it good, nor do good minutes thin out those after it."""
    began = Evidence(reference=platform(series((900, 960, 20), (960, 1000, 600))))
    assert judge(LATENCY, series((900, 960, 6000), (960, 1000, 3600)), began).verdict is Verdict.FAIL
    over = [(0, 100, 900), (50, 100, 935), (0, 60, 969)]
    own = [(0, 2000, 900), (40, 80, 935), (20, 60, 970)]
    theirs, mine = (
        SeriesReading(periods=tuple(Period(at=at, bad=bad, total=total) for bad, total, at in parts))
        for parts in (over, own)
    )
    reference = failing(theirs)
    assert judge(ERRORS, mine, Evidence(reference=reference)).verdict is Verdict.FAIL


def test_a_little_slower_than_a_slow_platform_is_no_worse() -> None:
    """Eleven of twenty answers above its median, a thousand times: certain, and negligible."""
    slow = SeriesReading(periods=tuple(Period(at=900 + n, values=(600, 700)) for n in range(100)))
    answers = (4500.0,) * 11 + (3100.0,) * 9
    own = SeriesReading(periods=tuple(Period(at=900 + n, values=answers) for n in range(100)))
    assert judge(LATENCY, own, Evidence(reference=platform(slow))).excused


def test_a_platform_of_which_only_counts_are_known_excuses_by_these() -> None:
    """As many of its calls were above its limit."""
    slow = SeriesReading(periods=(Period(at=960, total=60, above=40),))
    assert judge(LATENCY, series((960, 990, 3600)), Evidence(reference=platform(slow))).excused


def test_trouble_from_before_an_alarms_window_says_nothing_of_the_minutes_in_it() -> None:
    """Half of all failed in the good half of the window, after the platform had failed for long."""
    theirs = [Period(at=at, bad=2 * (at < 970), total=2) for at in range(800, 1000)]
    own = [Period(at=at, bad=2 if at < 970 else 1, total=2) for at in range(940, 1000)]
    reference = failing(SeriesReading(periods=tuple(theirs)))
    part = PartEvidence(own=SeriesReading(periods=tuple(own)), reference=reference)
    alarm = red(FAILING.model_copy(update={"window": 60.0}))
    assert judge(AlarmSignal(name="a"), alarm, Evidence(parts=(part,))).verdict is Verdict.FAIL


def test_trouble_that_has_just_begun_lets_nothing_pass() -> None:
    """Good minutes before the trouble are no better minutes after it."""
    evidence = Evidence(reference=platform(series((900, 960, 20), (960, 1000, 600))))
    found = judge(LATENCY, series((900, 960, 60), (960, 1000, 3600)), evidence)
    assert found.verdict is Verdict.INCONCLUSIVE


def test_slowness_excuses_no_errors() -> None:
    """A ratio needs a reference that fails too, and about as often."""
    bad = counts(4, 12)
    assert judge(ERRORS, bad, Evidence(reference=failures(0, 60))).verdict is Verdict.FAIL
    assert judge(ERRORS, bad, Evidence(reference=failures(3, 60))).verdict is Verdict.INCONCLUSIVE  # thin
    assert judge(ERRORS, counts(30, 72), Evidence(reference=failures(3, 60))).verdict is Verdict.FAIL
    assert judge(ERRORS, bad, Evidence(reference=failures(20, 60))).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("twins", "verdict"),
    [
        ([red(SLOW), red(SLOW), AlarmReading(state="OK")], Verdict.INCONCLUSIVE),
        ([red(SLOW), AlarmReading(state="OK")], Verdict.FAIL),  # half is not most
        ([red(SLOW)], Verdict.FAIL),  # one cell's own trouble
        ([red(FAILING), red(FAILING)], Verdict.FAIL),  # red for another reason
        ([AlarmReading(state="ALARM"), AlarmReading(state="ALARM")], Verdict.FAIL),  # nobody knows why
        ([], Verdict.FAIL),
    ],
)
def test_a_red_alarm_is_excused_by_most_of_its_twins(twins: list[Reading], verdict: Verdict) -> None:
    """At least two cells without the release, more than half of them red on the same metric."""
    found = judge(AlarmSignal(name="a"), red(SLOW), Evidence(twins=tuple(twins)))
    assert (found.verdict, found.excused) == (verdict, verdict is Verdict.INCONCLUSIVE)


def test_every_red_part_of_a_composite_must_be_excused() -> None:
    """A slow platform does not excuse the errors beside the slowness."""
    slow = PartEvidence(own=series((970, 1000, 6000)), reference=platform(series((940, 1000, 800)), 600))
    errors = PartEvidence(own=counts(5, 60), reference=failures(0, 60))
    alarm = AlarmSignal(name="a")
    assert judge(alarm, red(SLOW), Evidence(parts=(slow,))).excused
    both = Evidence(parts=(slow, errors))
    assert judge(alarm, red(SLOW, FAILING), both).verdict is Verdict.FAIL
    healthy = slow.model_copy(update={"reference": platform(series((940, 1000, 30)), 600)})
    assert judge(alarm, red(SLOW), Evidence(parts=(healthy,))).verdict is Verdict.FAIL


WAS_RED = Red(since=920, until=960, parts=(SLOW,))


@pytest.mark.parametrize("state", ["OK", "ALARM", "INSUFFICIENT_DATA"])
def test_an_alarm_that_was_red_since_the_release_condemns_however_it_stands(state: str) -> None:
    """A look comes now and then; what went on between two of them counts."""
    was = AlarmReading(state=state, since=960, earlier=(WAS_RED,))
    found = judge(AlarmSignal(name="a"), was, Evidence())
    assert found.verdict is Verdict.FAIL
    if state == "OK":
        assert "20 seconds after this release, for 40 seconds" in found.reason


def test_a_red_that_had_begun_before_the_release_and_is_over_condemns_nobody() -> None:
    """It was the release before."""
    was = AlarmReading(state="OK", since=960, earlier=(Red(since=880, until=960, parts=(SLOW,)),))
    assert judge(AlarmSignal(name="a"), was, Evidence()).verdict is Verdict.PASS


def test_a_red_that_is_over_is_excused_by_those_that_were_red_at_that_time() -> None:
    """Not by what is red now; and once it is excused, how it stands decides."""
    was = AlarmReading(state="OK", since=960, earlier=(WAS_RED,))
    then = AlarmReading(state="OK", since=955, earlier=(Red(since=930, until=955, parts=(SLOW,)),))
    now = AlarmReading(state="ALARM", since=995, parts=(SLOW,))
    alarm = AlarmSignal(name="a")
    assert judge(alarm, was, Evidence(twins=(then, then, now))).verdict is Verdict.PASS
    assert judge(alarm, was, Evidence(twins=(now, now, then))).verdict is Verdict.FAIL


def test_each_red_of_an_alarm_is_judged_by_what_it_had_seen() -> None:
    """New code that started slowly is no worse for the data points that came after it."""
    was = AlarmReading(state="OK", since=960, earlier=(WAS_RED, Red(since=970, until=980, parts=(FAILING,))))
    few = PartEvidence(own=series((918, 920, 9000)))
    healthy = PartEvidence(own=counts(9, 90), reference=failures(0, 60))
    alarm = AlarmSignal(name="a")
    assert judge(alarm, was, Evidence(parts=(few, healthy))).verdict is Verdict.FAIL
    started = was.model_copy(update={"earlier": (WAS_RED,)})
    assert judge(alarm, started, Evidence(parts=(few,))).verdict is Verdict.PASS
    enough = PartEvidence(own=series((905, 920, 9000)))
    assert judge(alarm, started, Evidence(parts=(enough,))).verdict is Verdict.FAIL


def test_what_an_alarm_saw_beside_the_platforms_trouble_wants_the_same_evidence_as_a_gate() -> None:
    """Half of 24 in quiet minutes condemn in a rollout of five gates, and may be chance in one of many more."""
    own = SeriesReading(periods=(*counts(12, 24, NOW - 100).periods, *counts(40, 60).periods))
    theirs = (Period(at=at, bad=4 * (at >= NOW - 40), total=4) for at in range(int(NOW) - 130, int(NOW)))
    reference = failing(SeriesReading(periods=tuple(theirs)))
    alarm = red(FAILING.model_copy(update={"window": 200.0}))
    evidence = Evidence(parts=(PartEvidence(own=own, reference=reference),))
    few, many = (judge(AlarmSignal(name="a"), alarm, evidence, gates=gates) for gates in (GATES, 10_000))
    assert (few.verdict, many.verdict) == (Verdict.FAIL, Verdict.INCONCLUSIVE)


def test_an_alarm_on_a_percentile_waits_for_as_many_data_points_as_a_quantile() -> None:
    """The first answers of new code are slow by nature; after those it condemns."""
    alarm = AlarmSignal(name="a")
    few = Evidence(parts=(PartEvidence(own=series((997, 1000, 9000))),))
    enough = Evidence(parts=(PartEvidence(own=series((990, 1000, 9000))),))
    assert judge(alarm, red(SLOW), few).verdict is Verdict.INCONCLUSIVE
    assert judge(alarm, red(SLOW), enough).verdict is Verdict.FAIL


def test_a_composite_none_of_whose_alarms_is_red_any_more_condemns_nobody() -> None:
    """It was read a moment before it turned."""
    assert judge(AlarmSignal(name="a"), red(QUIET), Evidence()).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("twins", "reference", "verdict"),
    [
        ([503, 503, 200], None, Verdict.INCONCLUSIVE),
        ([503, 200], None, Verdict.FAIL),
        ([503], None, Verdict.FAIL),
        ([0, 0, 0], None, Verdict.FAIL),  # no answer tells nothing
        ([], 503, Verdict.INCONCLUSIVE),
        ([], 200, Verdict.FAIL),
    ],
)
def test_a_probe_is_excused_by_most_of_its_twins_or_its_reference(
    twins: list[int], reference: int | None, verdict: Verdict
) -> None:
    """The same rule as for alarms."""
    evidence = Evidence(
        twins=tuple(ProbeReading(status=status) for status in twins),
        reference=None if reference is None else ProbeReading(status=reference),
    )
    assert judge(PROBE, ProbeReading(status=503), evidence).verdict is verdict


def test_what_is_excused_is_watched_longer_than_what_is_only_thin() -> None:
    """Up to the bake's patience, and then a person decides."""
    bake = Bake(seconds=10, samples=12, limit=60, patience=900)
    thin = GateResult(cell="c", service="s", gate="g", verdict=Verdict.INCONCLUSIVE, reason="because")
    excused = thin.model_copy(update={"excused": True})
    assert judge_bake([thin], bake, 61).verdict == "INCONCLUSIVE"
    assert judge_bake([excused], bake, 61).verdict == "WAIT"
    assert judge_bake([excused], bake, 901).verdict == "INCONCLUSIVE"
