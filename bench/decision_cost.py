"""What one decision costs: rollouts of 100 to 10,000 cells x three services, in one wave and in ten. No engine runs.

`python -m bench.decision_cost` plays each rollout through, a hundred cells in flight, and reports milliseconds of
processor time a decision (median, 99th percentile and the longest), then those of the turns that are about the whole
fleet: starting 1,000 cells at once, turning round when all has been touched, and building a state of its rows.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median, quantiles

from cellwave.rollout.decide import decide
from cellwave.rollout.leg import Leg
from cellwave.rollout.model import (
    Applied,
    Check,
    Checked,
    Commanded,
    Deploy,
    Deployed,
    Effect,
    Event,
    Prove,
    Proved,
    Started,
    State,
    first_state,
)
from cellwave.waves.model import Bake, Plan, PlannedWave, Step

NEW, OLD = "n" * 64, "o" * 64
NEEDS: dict[str, tuple[str, ...]] = {"storage": (), "ingest": ("storage",), "query": ("storage",)}
SIZES = ((100, 1), (1_000, 1), (1_000, 10), (10_000, 1), (10_000, 10))
IN_FLIGHT = 100
OUTPUTS = {"url": "https://events.example", "version": "n" * 64}


def plan(cells: int, waves: int, concurrency: int = IN_FLIGHT) -> Plan:
    """A plan of so many cells in so many waves of the same size, half of them in failover pairs of one wave."""
    size = cells // waves
    return Plan(
        release=NEW,
        version="v2",
        tolerance=cells // 20,
        rollback_concurrency=IN_FLIGHT,
        partners={f"c{n}": f"c{n ^ 1}" for n in range(0, cells) if n % 4 < 2},
        waves=tuple(
            PlannedWave(
                number=number + 1,
                name=f"w{number + 1}",
                steps=tuple(_steps(range(number * size, (number + 1) * size))),
                concurrency=concurrency,
                bake=Bake(),
            )
            for number in range(waves)
        ),
    )


def _steps(cells: range) -> Iterator[Step]:
    for n in cells:
        for service, needs in NEEDS.items():
            after = tuple(f"c{n}.{need}" for need in needs)
            if n % 4 == 1 and not after:
                after = (f"c{n - 1}.ingest", f"c{n - 1}.query")
            yield Step(cell=f"c{n}", service=service, after=after, release=NEW, previous=OLD)


@dataclass
class Played:
    """A rollout that is played, with the milliseconds that each decision took."""

    state: State
    took: list[float] = field(default_factory=list)
    todo: deque[Effect] = field(default_factory=deque)

    def feed(self, event: Event) -> float:
        """Take one turn; the milliseconds it took."""
        begin = time.thread_time()
        turn = decide(self.state, event)
        took = (time.thread_time() - begin) * 1000
        self.state = turn.state
        self.took.append(took)
        self.todo.extend(turn.effects)
        return took

    def step(self) -> None:
        """Let the oldest effect end well."""
        match self.todo.popleft():
            case Deploy(step=step, attempt=attempt, back=back):
                done = Applied(outputs=OUTPUTS, changes={"same": 30, "update": 3}, seconds=3.2)
                name = step.deployment
                self.feed(Deployed(at=10.0, deployment=name, attempt=attempt, back=back, result=done))
            case Prove(step=step, attempt=attempt, back=back):
                self.feed(Proved(at=10.0, deployment=step.deployment, attempt=attempt, back=back))
            case Check(look=look):
                self.feed(Checked(at=10.0, look=look))
            case _:
                pass


def play(made: Plan) -> Played:
    """Begin a rollout and play it until its first wave's first deployments run."""
    played = Played(first_state("v2-1", made))
    played.feed(Started(at=1.0, actor="ann"))
    return played


def measure(cells: int, waves: int) -> dict[str, float]:
    """All about one size."""
    played = play(plan(cells, waves))
    while played.todo:
        played.step()
    assert played.state.outcome == "done"
    found = {
        "cells": cells,
        "waves": waves,
        "decisions": len(played.took),
        "median_ms": median(played.took),
        "p99_ms": quantiles(played.took, n=100)[98],
        "longest_ms": max(played.took),
    }
    begin = time.thread_time()
    leg = played.state.forward
    Leg.of(leg.plan, leg.position, leg.tracks)
    found["load_ms"] = (time.thread_time() - begin) * 1000
    if cells >= 1_000:
        wide = play(plan(cells, waves, concurrency=1_000))
        wide.step()  # the look before the wave
        found["start_1000_ms"] = wide.took[-1]
        last = play(plan(cells, waves))
        while last.state.forward.index.converged.bit_count() < 3 * cells - 100:
            last.step()
        found["turn_round_ms"] = last.feed(Commanded(at=20.0, action="rollback", actor="bob"))
    return found


def main() -> None:
    """Print a Markdown table and, on the last line, JSON."""
    rows = [measure(cells, waves) for cells, waves in SIZES]
    columns = {
        "median_ms": "a decision",
        "p99_ms": "99 %",
        "longest_ms": "longest",
        "start_1000_ms": "start 1,000 cells",
        "turn_round_ms": "turn all round",
        "load_ms": "build of rows",
    }
    print(f"| cells x 3 services | waves | {' | '.join(columns.values())} |")
    print(f"|---|---|{'---:|' * len(columns)}")
    for row in rows:
        values = [f"{row[name]:.2f} ms" if name in row else "" for name in columns]
        print(f"| {row['cells']:,.0f} | {row['waves']:.0f} | {' | '.join(values)} |")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
