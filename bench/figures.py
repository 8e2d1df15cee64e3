"""The figures of the README by name. Each is measured as often as is asked for; the medians are reported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from statistics import median, quantiles

from tests.postgres.server import running

from bench import decision_cost, planning, rollout_vs_loop, rollouts

HOSTS = ("one", "two")
DECISIONS = 3_000
Measured = dict[str, float]


def versus() -> Measured:
    """A rollout on the real engine for each second of a loop over `pulumi up`, and of one in the rollout's order."""
    return rollout_vs_loop.ratios(rollout_vs_loop.compare(1, None))


def plans() -> Measured:
    """Processor seconds of a plan of 10,000 cells, in ten waves and in one, and of the help."""
    ten, one = planning.plan_s(), planning.plan_s(waves=1)
    return {"plan_10000_s": ten, "plan_10000_one_wave_s": one, "help_s": planning.help_s()}


def decisions() -> Measured:
    """Milliseconds of processor time of all but one in a hundred decisions of 10,000 cells, in ten waves or one."""
    slow = []
    for waves in (1, 10):
        played = decision_cost.play(decision_cost.plan(10_000, waves))
        for _ in range(DECISIONS):
            played.step()
        slow.append(quantiles(played.took, n=100)[98])
    return {"decide_ms": max(slow)}


def sqlite() -> Measured:
    """Seconds of a rollout of 1,000 deployments, and of 1,000 workflows of DBOS alone."""
    return {"rollout_1000_sqlite_s": rollouts.rollout_s(1_000)[0], "bare_sqlite_s": rollouts.bare_s()}


def postgres() -> Measured:
    """The same on PostgreSQL, with two hosts."""
    with running() as server:
        with server.database() as url:
            took, _ = rollouts.rollout_s(1_000, url, HOSTS)
        with server.database() as url:
            return {"rollout_1000_postgres_s": took, "bare_postgres_s": rollouts.bare_s(url)}


def large() -> Measured:
    """Seconds of a rollout of 10,000 deployments on SQLite, and the MB of its database."""
    took, size = rollouts.rollout_s(10_000)
    return {"rollout_10000_s": took, "db_mb": size}


def small() -> Measured:
    """Seconds of a rollout of 100 deployments on SQLite."""
    return {"rollout_100_s": rollouts.rollout_s(100)[0]}


def status() -> Measured:
    """Processor seconds that a look at 10,000 cells takes longer than one at a single cell."""
    return {"status_s": rollouts.status_s()}


def restart() -> Measured:
    """Seconds from the start of a worker amid a rollout to the next deployment that has converged."""
    return {"restart_s": rollouts.restart_s()}


FIGURES: dict[str, Callable[[], Measured]] = {
    one.__name__: one for one in (versus, plans, decisions, small, sqlite, postgres, large, status, restart)
}


def measure(names: Sequence[str], rounds: int) -> Measured:
    """These figures, by name."""
    found: Measured = {}
    for name in names:
        seen = []
        for _ in range(rounds):
            seen.append(FIGURES[name]())
            print(f"{name}: {seen[-1]}", file=sys.stderr, flush=True)
        found |= {figure: round(median(one[figure] for one in seen), 3) for figure in seen[0]}
    return found
