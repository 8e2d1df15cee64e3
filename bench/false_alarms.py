"""How often gates that keep their limits are condemned, and how soon one that doesn't is. No engine runs.

`python -m bench.false_alarms` plays 2,000 rollouts of 10 cells x 5 gates, every one of which is exactly at its limit,
and prints how many are rolled back within 720 looks and within 8,640 (a day of looks ten seconds apart); then, exactly,
after how many data points a gate over its limit is condemned when it is looked at after each. Beside the rule of now
stands the one before: a one-sided exact binomial test at 0.001 a look. `--json` prints the same as JSON, `--rollouts`
plays fewer.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

from cellwave.health.threshold import CONDEMNING, condemns

CELLS = 10
LIMITS = (0.001, 0.01, 0.01, 0.05, 0.1)  # of a cell's five gates; a p99 is a limit of 1 %, a p90 one of 10 %
GATES = CELLS * len(LIMITS)
LOOKS = (720, 8640)
TRAFFIC = (1, 10, 100)  # data points a look
OVER = (
    (0.001, 0.002),
    (0.001, 0.01),
    (0.001, 1.0),
    (0.01, 0.02),
    (0.01, 0.03),
    (0.01, 0.05),
    (0.01, 0.2),
    (0.01, 1.0),
    (0.05, 0.1),
    (0.05, 0.2),
    (0.05, 1.0),
    (0.1, 0.2),
    (0.1, 0.5),
    (0.1, 1.0),
)
AT_ONCE = 10  # rollouts in memory

Rule = Callable[[int, int, float], bool]  # bad, total, limit: does it condemn
Counts = npt.NDArray[np.int64]


def before(bad: int, total: int, limit: float) -> bool:
    """The rule that was: each look for itself, whatever else is looked at."""
    return bad >= CONDEMNING and bad / total > limit and float(bdtrc(bad - 1, total, limit)) < 0.001


now: Rule = partial(condemns, gates=GATES)
RULES = {"before": before, "now": now}


@dataclass(frozen=True)
class Alarms:
    """Of so many rollouts, each gate of which was at its limit, how many were rolled back by each rule."""

    points: int
    looks: int
    rollouts: int
    before: int
    now: int


@dataclass(frozen=True)
class Detection:
    """Data points until a gate is condemned whose true share is `share`: the median and the mean by each rule."""

    limit: float
    share: float
    median: dict[str, int]
    mean: dict[str, float]


def least_bad(rule: Rule, limit: float, totals: Iterable[int]) -> Iterator[int]:
    """The least number of bad data points that condemns, at each of these totals (which grow)."""
    bad = 0
    for total in totals:
        while bad <= total and not rule(bad, total, limit):
            bad += 1
        yield bad


def survival(rule: Rule, limit: float, share: float, longest: int) -> Iterator[float]:
    """The exact chance that a gate is not condemned by any look so far, when it is looked at after each data point."""
    alive = np.array([1.0])  # by the number of bad data points
    for least in least_bad(rule, limit, range(1, longest + 1)):
        one_more = np.append(alive, 0.0) * (1 - share)
        one_more[1:] += alive * share
        alive = one_more[:least]
        yield float(alive.sum())


def detection(limit: float, share: float, longest: int = 1_000_000) -> Detection:
    """How soon a gate whose true share is `share` is condemned; exact but for the last thousand-millionth."""
    median, mean = {}, {}
    for name, rule in RULES.items():
        chances = [1.0]
        for chance in survival(rule, limit, share, longest):
            chances.append(chance)
            if chance < 1e-9:
                break
        median[name] = next(points for points, chance in enumerate(chances) if chance <= 0.5)
        mean[name] = sum(chances)
    return Detection(limit=limit, share=share, median=median, mean=mean)


def false_alarms(points: int, rollouts: int, looks: Iterable[int] = LOOKS, seed: int = 1) -> list[Alarms]:
    """Rollouts of GATES gates at their limits, each looked at after every `points` data points."""
    chance, looks = np.random.default_rng(seed), sorted(looks)
    totals = range(points, points * looks[-1] + 1, points)
    least = {
        name: {limit: np.fromiter(least_bad(rule, limit, totals), np.int64) for limit in {*LIMITS}}
        for name, rule in RULES.items()
    }
    firsts: dict[str, list[Counts]] = {name: [] for name in RULES}
    for begun in range(0, rollouts, AT_ONCE):
        played = _played(chance, points, looks[-1], min(AT_ONCE, rollouts - begun))
        seen = dict.fromkeys(RULES, np.array(looks[-1]))
        for limit, bad in played:
            for name in RULES:
                seen[name] = np.minimum(seen[name], _first(bad >= least[name][limit]))
        for name in RULES:
            firsts[name].append(seen[name])
    first = {name: np.concatenate(found) for name, found in firsts.items()}
    return [
        Alarms(points, upto, rollouts, **{name: int((first[name] < upto).sum()) for name in RULES})
        for upto in looks
    ]


def _played(
    chance: np.random.Generator, points: int, looks: int, rollouts: int
) -> Iterator[tuple[float, Counts]]:
    """One gate of all these rollouts after the other: its limit, and the bad points up to each look of each rollout."""
    for limit in LIMITS * CELLS:
        yield limit, chance.binomial(points, limit, (rollouts, looks)).cumsum(axis=1)


def _first(red: npt.NDArray[np.bool_]) -> Counts:
    """The number of the first look (from 0) at which each rollout is red; that of all looks where none is."""
    first: Counts = np.where(red.any(axis=1), red.argmax(axis=1), red.shape[1])
    return first


def _tables(alarms: list[Alarms], detections: list[Detection]) -> str:
    lines = [
        "| data points a look | looks | rolled back wrongly, before | now |",
        "|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {a.points} | {a.looks:,} | {a.before / a.rollouts:.1%} | {a.now / a.rollouts:.2%} |"
        for a in alarms
    ]
    lines += [
        "",
        "| limit | true share | median before | now | ratio | mean before | now | ratio |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for d in detections:
        medians, means = [d.median[name] for name in RULES], [d.mean[name] for name in RULES]
        lines.append(
            f"| {d.limit * 100:g} % | {d.share * 100:g} % | {medians[0]:,} | {medians[1]:,} "
            f"| {medians[1] / medians[0]:.2f} | {means[0]:,.0f} | {means[1]:,.0f} | {means[1] / means[0]:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rollouts", type=int, default=2000)
    asked = parser.parse_args()
    detections = [detection(limit, share) for limit, share in OVER]
    alarms = [found for points in TRAFFIC for found in false_alarms(points, asked.rollouts)]
    if asked.json:
        print(json.dumps({"alarms": [*map(asdict, alarms)], "detections": [*map(asdict, detections)]}))
    else:
        print(_tables(alarms, detections))


if __name__ == "__main__":
    main()
