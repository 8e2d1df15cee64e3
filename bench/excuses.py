"""How often a good release is condemned for its platform's trouble, and how soon a bad one is in spite of it.

`python -m bench.excuses` plays bakes of ten minutes, looked at every ten seconds, of a gate of which 1 % may fail in a
rollout of 50 such gates. The platform fails as each row says, for everybody: a deployment called 2 or 20 times a second
and a reference called twice. The release adds failures of its own, or none. No engine runs. `--bakes` plays fewer.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import numpy as np

from cellwave.fleet.model import RatioSignal
from cellwave.health.judge import Evidence, judge_gate
from cellwave.health.model import Period, SeriesReading, Verdict
from cellwave.health.yardstick import SLICE_SECONDS, Limit, Yardstick

SIGNAL = RatioSignal(namespace="N", bad="bad", total="all", dimensions={}, at_most=0.01)
GATES, SECONDS, LOOK, CALLS = 50, 600, 10, 2

Failing = Callable[[int], float]  # the share that fails in the second since convergence


def always(share: float) -> Failing:
    """The same share all the time."""
    return lambda second: share


def now_and_then(seconds: int, every: int, share: float) -> Failing:
    """A share for so many seconds of so many, and none of the others."""
    return lambda second: share if second % every < seconds else 0.0


PLATFORMS = {
    "0.5 %": always(0.005),
    "2 %": always(0.02),
    "3 %": always(0.03),
    "5 %": always(0.05),
    "10 %": always(0.1),
    "30 %": always(0.3),
    "all, 5 s of 65": now_and_then(5, 65, 1.0),
    "30 %, 20 s of 80": now_and_then(20, 80, 0.3),
    "10 %, 2 minutes of 6": now_and_then(120, 360, 0.1),
}
RELEASES = {
    "none": always(0),
    "5 %": always(0.05),
    "20 %": always(0.2),
    "20 %, after 5 minutes": lambda second: 0.2 * (second >= 300),
}


def condemned(chance: np.random.Generator, calls: int, platform: Failing, release: Failing) -> int | None:
    """The second of the look that condemns a deployment which is called so many times a second; None when none does."""
    lead, seconds = range(-int(SLICE_SECONDS), 0), range(SECONDS)
    failing = [1 - (1 - platform(second)) * (1 - release(second)) for second in seconds]
    own = _series(seconds, chance.binomial(calls, failing), calls)
    others = [*lead, *seconds]
    theirs = _series(others, chance.binomial(CALLS, [platform(second) for second in others]), CALLS)
    for end in range(LOOK, SECONDS + 1, LOOK):
        seen = SeriesReading(periods=theirs[: len(lead) + end])
        found = judge_gate(
            SIGNAL,
            SeriesReading(periods=own[:end]),
            Evidence(reference=Yardstick(name="it", reading=seen, limit=Limit(share=SIGNAL.at_most))),
            min_samples=20,
            gates=GATES,
            cell="c",
            service="s",
            gate="g",
            at=end,
        )
        if found.verdict is Verdict.FAIL:
            return end
    return None


def _series(seconds: range | list[int], bad: np.typing.NDArray[np.int64], calls: int) -> tuple[Period, ...]:
    return tuple(Period(at=at, bad=float(n), total=calls) for at, n in zip(seconds, bad, strict=True))


def main() -> None:
    """Play, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bakes", type=int, default=100)
    bakes = parser.parse_args().bakes
    print("| calls a second | platform fails | " + " | ".join(f"release: {name}" for name in RELEASES) + " |")
    print("|---:|---:|" + "---:|" * len(RELEASES))
    for calls in (CALLS, 10 * CALLS):
        for name, platform in PLATFORMS.items():
            cells = [f"{calls}", name]
            for release in RELEASES.values():
                chance = np.random.default_rng(1)
                ends = [condemned(chance, calls, platform, release) for _ in range(bakes)]
                found = [end for end in ends if end is not None]
                cells.append(f"{len(found) / bakes:.0%}" + (f", {median(found):.0f} s" if found else ""))
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
