"""`python -m bench`: a rollout against a loop over `pulumi up`; with --json all figures of the README."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from bench import rollout_vs_loop as versus
from bench.figures import FIGURES, measure


def main() -> None:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=versus.__doc__)
    parser.add_argument(
        "--rounds", type=int, default=1, help="how often; the medians are reported (default: 1)"
    )
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="FILE",
        help="say where a rollout's time went, and write a trace for Perfetto",
    )
    parser.add_argument(
        "--json",
        nargs="*",
        metavar="FIGURE",
        dest="figures",
        help=f"print these figures, or all, as one object: {', '.join(FIGURES)}",
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # leave no sandbox behind
    if arguments.figures is not None:
        print(json.dumps(measure(arguments.figures or list(FIGURES), arguments.rounds)))
        return
    times = versus.compare(arguments.rounds, arguments.profile)
    print(versus.table(times["rollout"], times["loop"], times["ordered"]))
    print(json.dumps({**times, **versus.ratios(times), "rounds": arguments.rounds}))


main()
