"""How many bad data points condemn: a test that may be looked at as often as one likes. Pure.

Somebody who bets against "at most `limit` of the data points are bad" begins with 1. A bad point multiplies the money
by p / limit, another one by (1 - p) / (1 - limit), where p, the share that is betted on, is above the limit. As long as
the limit is kept this is a losing game, or an even one, whatever came before. So the chance that the bettor *ever* has
N times the beginning is at most 1 / N (Ville 1939; Ramdas et al., Game-theoretic statistics and safe anytime-valid
inference, 2023), and no number of looks changes that. A rollout's gates share a chance of FALSE_ROLLBACKS that any of
them is condemned wrongly: each condemns at gates / FALSE_ROLLBACKS (Bonferroni).

A gate that is watched for longer than a bake makes a bet of its own on each bake's length that begins later: what was
good for hours says nothing of what is bad now. All its bets share its chance: LATER of it is for those, LATER / (k * (k
+ 1)) for the k-th, so there may be any number of them.

The money is spread over all p by a density that falls with p ** -1.5 from the limit to 1: about three tenths of it up
to twice the limit, however small that is, and enough on what is a hundred times over (docs/decisions/0053). What it has
become depends on the two counts alone, so nothing is kept from one look to the next.
"""

from __future__ import annotations

import math

from cellwave.health.model import Verdict

# At most so many of the rollouts all of whose gates keep their limits are condemned by one of them.
FALSE_ROLLBACKS = 0.01
LATER = 0.001
CONDEMNING = 3  # a hiccup and its retry are one mishap: the test takes each data point for a trial of its own


def log_wealth(bad: int, total: int, limit: float) -> float:
    """The natural logarithm of what 1, betted against `limit` (0..1), has become; `bad` of `total` are bad.

    Exact to 1e-5 up to a thousand million data points. Not above 0 while no more are bad than may be (then it says 0).
    """
    if bad == 0 or bad / total <= limit:
        return 0.0
    if limit <= 0:
        return math.inf
    # Commands that judge nothing would take a fifth longer to begin.
    from scipy.special import betaincc, betaln

    # The integral over p in (limit, 1) of p ** (bad - 1.5) * (1 - p) ** (total - bad), normed.
    a, b = bad - 0.5, total - bad + 1.0
    mass = 2 * math.expm1(-0.5 * math.log(limit))
    won = float(betaln(a, b)) + math.log(betaincc(a, b, limit)) - math.log(mass)
    return won - bad * math.log(limit) - (total - bad) * math.log1p(-limit)


def evidence_wanted(gates: int, ways: int = 1) -> float:
    """The natural logarithm of what 1 must have become to prove a thing of one of the `gates` of a rollout that count
    data points, when it may be proven in so many `ways`."""
    return math.log(max(1, gates) * ways / FALSE_ROLLBACKS)


def condemns(bad: int, total: int, limit: float, gates: int, later: int = 0) -> bool:
    """Whether that many bad data points show that the limit is broken, and are no single mishap. They are all that
    there are, or those since the gate began anew for the `later`-th time."""
    share = LATER / (later * (later + 1)) if later else 1 - LATER
    return bad >= CONDEMNING and log_wealth(bad, total, limit) >= evidence_wanted(gates) - math.log(share)


def threshold(
    bad: int, total: int, limit: float, *, needed: int, gates: int, word: str
) -> tuple[Verdict, str]:
    """The verdict on `bad` of `total` data points, without regard to other cells; `word` says what bad means."""
    if total == 0:
        return Verdict.INCONCLUSIVE, "no data points yet"
    share = f"{bad} of {total} ({bad / total:.1%}) are {word}, at most {limit * 100:g}% allowed"
    if bad / total > limit:
        if condemns(bad, total, limit, gates):
            return Verdict.FAIL, share
        return Verdict.INCONCLUSIVE, f"{share}, but that may be chance"
    if total < needed:
        return Verdict.INCONCLUSIVE, f"{total} of {needed} data points, {bad} {word}"
    return Verdict.PASS, share
