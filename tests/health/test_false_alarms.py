"""At most one of a hundred rollouts that keep all limits is condemned, however often it is looked at."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pytest
from bench.false_alarms import GATES, detection, false_alarms, now, survival
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import bdtrc

from cellwave.health.threshold import LATER, condemns, log_wealth

LIMITS = st.floats(1e-6, 1 - 1e-6)
COUNTS = st.integers(0, 10_000)
MANY = st.integers(1, 10**12)


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.05, 0.1, 0.5, 0.9])
def test_a_gate_at_its_limit_keeps_to_its_share_of_the_chance(limit: float) -> None:
    """Exactly, for 5,000 looks, one after each data point: one of a hundred rollouts, divided by the gates."""
    condemned = 1 - list(survival(now, limit, limit, 5_000))[-1]
    assert 0 < condemned <= 0.01 / GATES


@pytest.mark.parametrize("limit", [0.01, 0.1])
def test_all_times_that_a_gate_is_judged_anew_share_its_chance(limit: float) -> None:
    """The k-th has 1 / (k * (k + 1)) of what is left for them, and 0.01 is divided among all."""
    shares = [1 - LATER, *(LATER / (k * (k + 1)) for k in range(1, 10_000))]
    assert sum(shares) <= 1
    for later in (1, 2, 30):
        rule = partial(condemns, gates=GATES, later=later)
        condemned = 1 - list(survival(rule, limit, limit, 2_000))[-1]
        assert 0 <= condemned <= shares[later] * 0.01 / GATES + 1e-12


@pytest.mark.parametrize("points", [1, 10, 100])
def test_rollouts_at_their_limits_are_hardly_ever_rolled_back(points: int) -> None:
    """Of 200 with 50 gates and 300 looks, not more than 1 % can explain; the rule before condemned far more."""
    (found,) = false_alarms(points, rollouts=200, looks=(300,))
    assert bdtrc(found.now - 1, 200, 0.01) > 0.001
    assert found.before > 20


@pytest.mark.parametrize(
    ("limit", "share"),
    [(0.01, 0.03), (0.01, 0.05), (0.01, 0.2), (0.01, 1), (0.05, 0.1), (0.05, 0.2), (0.1, 0.5)],
)
def test_it_takes_at_most_two_and_a_half_times_the_data_points(limit: float, share: float) -> None:
    """Of what a test takes that condemns in two of three such rollouts by chance; the median and the mean."""
    found = detection(limit, share)
    assert found.median["now"] <= 2.5 * found.median["before"]
    assert found.mean["now"] <= 2.5 * found.mean["before"]


def test_the_figures_of_the_documentation_are_these() -> None:
    """docs/health.md shows how soon a gate over its limit is condemned; those that take long to work out are left."""
    text = (Path(__file__).parents[2] / "docs/health.md").read_text()
    for limit, share in ((0.01, 0.05), (0.01, 0.2), (0.01, 1), (0.05, 0.2), (0.1, 0.5)):
        found = detection(limit, share)
        old, new = found.median["before"], found.median["now"]
        assert f"| {limit * 100:g} % | {share * 100:g} % | {old:,} | {new:,} | {new / old:.2f} |" in text


@given(limit=LIMITS, bad=st.integers(1, 2_000), total=st.integers(1, 2_000), kept=st.floats(0, 1))
def test_the_bet_is_even_at_the_limit_and_a_losing_one_below_it(
    limit: float, bad: int, total: int, kept: float
) -> None:
    """What one more data point is worth on average is what there was, or less where fewer are bad than may be."""
    assume(limit * (total + 1) < bad <= total)
    had = log_wealth(bad, total, limit)
    won, lost = (math.exp(log_wealth(bad + more, total + 1, limit) - had) for more in (1, 0))
    assert math.isclose(limit * won + (1 - limit) * lost, 1, rel_tol=1e-6)
    share = kept * limit
    assert share * won + (1 - share) * lost <= 1 + 1e-6


@pytest.mark.parametrize(
    ("bad", "total", "limit", "exact"),
    [
        (1, 1, 0.01, 2.3025850929940455),
        (3, 4, 0.01, 8.766100684948292),
        (5, 40, 0.01, 6.603899407410165),
        (30, 3_000, 0.005, 4.093975953636728),
        (7, 100_000, 1e-5, 5.97250218122133),
        (12, 12, 0.999, 0.0060085075004623935),
        (3, 10**9, 1e-10, 5.447121893638786),
        (10_020_000, 10**9, 0.01, 12.453772363344905),
        (500_100_000, 10**9, 0.5, 11.091805755798203),
        (999_999, 10**9, 0.0009, 5358.710184977244),
        (10**9, 10**9, 0.5, 693147160.0249059),
    ],
)
def test_the_wealth_is_right_from_one_data_point_to_a_thousand_million(
    bad: int, total: int, limit: float, exact: float
) -> None:
    """As integrated with sixty digits (mpmath)."""
    assert log_wealth(bad, total, limit) == pytest.approx(exact, abs=1e-5)


@given(limit=st.floats(0, 1), bad=MANY, total=MANY, gates=st.integers(0, 10**6))
def test_nothing_within_the_limit_condemns(limit: float, bad: int, total: int, gates: int) -> None:
    """Whatever the counts: and what there is to say is a number."""
    bad = min(bad, total)
    assert not math.isnan(log_wealth(bad, total, limit))
    if bad / total <= limit:
        assert not condemns(bad, total, limit, gates)


@given(limit=st.floats(0, 1), bad=COUNTS, total=COUNTS, more=COUNTS, gates=st.integers(1, 10**6))
def test_more_bad_points_condemn_no_later_and_more_gates_no_sooner(
    limit: float, bad: int, total: int, more: int, gates: int
) -> None:
    """Of as many data points; the chance of a rollout is divided among its gates."""
    assume(bad <= total)
    if condemns(bad, total, limit, gates):
        assert condemns(min(total, bad + more), total, limit, gates)
        assert condemns(bad, total, limit, 1)


def test_limits_at_the_ends() -> None:
    """Where nothing may be bad, three that are condemn; where all may be, nothing does."""
    assert [condemns(bad, 10**9, 0.0, 10**6) for bad in (0, 2, 3)] == [False, False, True]
    assert not condemns(10**9, 10**9, 1.0, 1)
