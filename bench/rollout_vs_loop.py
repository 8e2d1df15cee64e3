"""Six cells and all their services, created and then updated: `cellwave rollout` against a loop over `pulumi up`.

Each contender gets a copy of the project and a fresh sandbox, with the control plane deployed beforehand. The
rollout's time is that of its commands from start to exit: release build, plan, worker, waves, proof of convergence and
journal, with bakes of 0. The loop is what one would write without it: two stacks at a time, each after those
that it needs, no proof of anything. A second loop keeps the rollout's own order, waves and failover pairs. The
update changes one file of the handlers.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import networkx as nx

from bench import spans
from cellwave.fleet.model import Fleet
from cellwave.fleet.parse import parse_fleet
from cellwave.project import Project, find_project
from cellwave.release import Release
from cellwave.rollout.presence import stop_worker
from cellwave.sandbox import server
from cellwave.waves.model import Strategy
from cellwave.waves.parse import parse_strategy
from cellwave.waves.planner import make_plan

COPIED = ("Pulumi.yaml", "waves.yaml", "requirements.lock", "pyproject.toml", "cells", "src")
OWN = ("AWS_", "PULUMI_", "CELLWAVE_")
LONGEST_S = 900
CELLWAVE = (sys.executable, "-m", "cellwave.cli.main")
UP = "pulumi up --skip-preview --yes --non-interactive --stack {}"
CREATE = "pulumi stack init --no-select {} && " + UP

Times = dict[str, float]  # "create" and "update" -> seconds


@dataclass(frozen=True)
class Bench:
    """A contender's copy of the project with a sandbox that runs."""

    project: Project
    environment: dict[str, str]

    def run(self, *command: str, given: str = "") -> float:
        """Run a command in the copy to its end; its wall time in seconds. SystemExit with its output if it fails."""
        start = time.monotonic()
        done = subprocess.run(
            command,
            cwd=self.project.root,
            env=self.environment,
            input=given,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=LONGEST_S,
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-5000:]}")
        return time.monotonic() - start

    def change_code(self) -> None:
        """Make the code of ingest and query another, as a release would."""
        path = next(iter(sorted((self.project.root / "src/audit/handlers/common").glob("*.py"))))
        path.write_text(path.read_text() + "\n# Changed.\n")


@contextmanager
def fresh(source: Project) -> Iterator[Bench]:
    """A copy of the project whose bakes are 0, with a sandbox of its own; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="cellwave-bench-") as folder:
        project = Project(Path(folder))
        for name in COPIED:
            path = source.root / name
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, project.root / name)
        (project.root / ".cellwave").mkdir()
        (project.root / ".cellwave/bin").symlink_to(source.bin)
        (project.root / ".cellwave/venv").symlink_to(sys.prefix)  # Pulumi.yaml names it
        waves = (project.root / "waves.yaml").read_text()
        (project.root / "waves.yaml").write_text(re.sub(r"bake: \{[^}]*\}", "bake: {seconds: 0}", waves))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
        server.up(project, lambda _line: None)
        try:
            yield Bench(project, kept | server.environment(project))
        finally:
            stop_worker(project)
            server.down(project)


def by_rollout(bench: Bench, trace: Path | None = None) -> Times:
    """Create and update by `cellwave rollout`; `trace` is where to write the spans of what went on."""

    def roll(version: str) -> float:
        begin = time.time()
        took = bench.run(*CELLWAVE, "release", "build", "--version", version)
        took += bench.run(*CELLWAVE, "rollout", "start", version)
        if trace:
            found = spans.spans_of(bench.project)
            print(f"{version}:\n{spans.table(found, begin, time.time())}", file=sys.stderr, flush=True)
            spans.write_trace(found, trace)
        return took

    times = {"create": roll("v1")}
    bench.change_code()
    return times | {"update": roll("v2")}


def all_cells(fleet: Fleet, _strategy: Strategy) -> list[list[str]]:
    """The stacks of all cells at once, but for what services need: groups, one after the other."""
    needs: nx.DiGraph[str] = nx.DiGraph()
    for service in fleet.services:
        needs.add_node(service.name)
        needs.add_edges_from((need, service.name) for need in service.needs)
    return [
        [f"{cell.name}.{name}" for cell in fleet.cells for name in names]
        for names in nx.topological_generations(needs)
    ]


def in_order(fleet: Fleet, strategy: Strategy) -> list[list[str]]:
    """The stacks in the rollout's own order: wave after wave, the cells of a pair one after the other."""
    plan = make_plan(fleet, strategy, Release(version="v", files={}, code={}), {})
    groups: list[list[str]] = []
    for wave in plan.waves:
        level: dict[str, int] = {}
        for step in wave.steps:
            level[step.deployment] = max((level[name] + 1 for name in step.after), default=0)
        groups += [[name for name, at in level.items() if at == n] for n in range(max(level.values()) + 1)]
    return groups


def by_loop(bench: Bench, order: Callable[[Fleet, Strategy], list[list[str]]] = all_cells) -> Times:
    """Create and update by `xargs -P2` over `pulumi up`."""
    fleet = parse_fleet(bench.project.config_files())
    groups = order(fleet, parse_strategy(bench.project.waves_file(), fleet))

    def loop(command: str) -> float:
        xargs = ("xargs", "-P2", "-I{}", "sh", "-ec", command)
        return sum(bench.run(*xargs, given="\n".join(stacks)) for stacks in groups)

    times = {"create": loop(CREATE)}
    bench.change_code()
    return times | {"update": loop(UP)}


def measure(source: Project, contender: Callable[[Bench], Times]) -> Times:
    """One contender in a fresh sandbox."""
    with fresh(source) as bench:
        bench.run(*CELLWAVE, "up", "control")
        return contender(bench)


def table(rollout: Times, loop: Times, ordered: Times) -> str:
    """The result as a Markdown table."""
    lines = []
    for name in (*rollout, "both"):
        ours, theirs, same = (times.get(name, sum(times.values())) for times in (rollout, loop, ordered))
        ratios = f"{ours / theirs:.2f} | {same:.1f} s | {ours / same:.2f}"
        lines.append(f"| {name} | {ours:.1f} s | {theirs:.1f} s | {ratios} |")
    loops = "`xargs -P2` over `pulumi up` | ratio | the same in the rollout's order | ratio"
    return "\n".join([f"| 6 cells | `cellwave rollout` | {loops} |", "|---|" + "---:|" * 5, *lines])


def compare(rounds: int, trace: Path | None) -> dict[str, Times]:
    """The medians of each contender's times; `trace` is where to write the spans of the rollout."""
    source = find_project()
    contenders: dict[str, Callable[[Bench], Times]] = {
        "rollout": partial(by_rollout, trace=trace),
        "loop": by_loop,
        "ordered": partial(by_loop, order=in_order),
    }
    seen: dict[str, list[Times]] = {name: [] for name in contenders}
    for number in range(rounds):
        # Each goes first in turn, so that a warm file cache favours neither.
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            print(f"round {number + 1}: {name} ...", file=sys.stderr, flush=True)
            seen[name].append(measure(source, contenders[name]))
            print(f"round {number + 1}: {name} {seen[name][-1]}", file=sys.stderr, flush=True)
    return {
        name: {part: median(t[part] for t in seen[name]) for part in seen[name][0]} for name in contenders
    }


def ratios(times: dict[str, Times]) -> dict[str, float]:
    """What a rollout takes for each second of a loop, create and update together."""
    rollout, loop, ordered = (sum(times[name].values()) for name in ("rollout", "loop", "ordered"))
    return {"ratio": round(rollout / loop, 3), "ratio_ordered": round(rollout / ordered, 3)}
