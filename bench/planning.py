"""What a plan of 10,000 cells x three services costs, from files to the printed table, and what it costs to start.

`python -m bench.planning` prints it all. Seconds are of processor time, user's and system's: of a `cellwave plan` of
its own process, less that of its `--help`; of the parts of a plan, one by one; and of `cellwave --help`.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from cellwave.fleet.parse import parse_fleet
from cellwave.fleet.partitions import REGIONS
from cellwave.project import Project
from cellwave.release import Release
from cellwave.releases.views import Beside, Sources
from cellwave.waves.parse import parse_strategy
from cellwave.waves.planner import Inputs, make_plan

T = TypeVar("T")

CELLS, WAVES, TIMES = 10_000, 10, 5
AWS_REGIONS = [name for name in REGIONS if not name.startswith(("cn-", "us-gov-"))]
SHARED = """role: arn:{partition}:iam::{account}:role/deploy
services:
  storage: {program: ., include: [Pulumi.yaml, __main__.py], stateful: true}
  ingest: {program: ., include: [Pulumi.yaml, __main__.py], needs: [storage]}
  query: {program: ., include: [Pulumi.yaml, __main__.py], needs: [storage]}
"""


@contextmanager
def project(cells: int = CELLS, waves: int = WAVES) -> Iterator[Path]:
    """A project's folder: so many cells, half of them in failover pairs, in ten regions, in so many waves."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "cells").mkdir()
        (root / "Pulumi.yaml").write_text("name: bench\nruntime: python\n")
        (root / "__main__.py").write_text("")
        (root / "cells" / "fleet.yaml").write_text(SHARED)
        size = cells // 10
        for region in range(10):
            head = f"region: r{region}\nendpoint: r{region}.example\nresidency: here\ncells:\n"
            lines = (_cell(number, waves) for number in range(region * size, (region + 1) * size))
            (root / "cells" / f"r{region}.yaml").write_text(head + "".join(lines))
        named = "".join(f"  - {{name: w{wave}, labels: {{wave: w{wave}}}}}\n" for wave in range(waves))
        (root / "waves.yaml").write_text(
            f"concurrency: 100\nbake: {{seconds: 600, samples: 100}}\nwaves:\n{named}"
        )
        yield root


def _cell(number: int, waves: int) -> str:
    partner = f", failover: c{number ^ 1}" if number % 4 < 2 else ""
    place = f'account: "{200_000_000_000 + number}", aws_region: {AWS_REGIONS[number % len(AWS_REGIONS)]}'
    labels = f"labels: {{wave: w{number // 2 % waves}}}"
    return f"  - {{name: c{number}, {place}, weight: {1 + number % 30}{partner}, {labels}}}\n"


def least_s(root: Path, *arguments: str) -> float:
    """Processor seconds of a command line, the least of a few: what else goes on in a machine only adds to them."""
    return min(command_s(root, *arguments) for _ in range(TIMES))


def command_s(root: Path, *arguments: str) -> float:
    """Processor seconds of a command line."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {**os.environ, "CELLWAVE_HOME": str(root / "home")}
    argv = [sys.executable, "-m", "cellwave.cli.start", *arguments]
    subprocess.run(argv, cwd=root, env=env, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def plan_s(cells: int = CELLS, waves: int = WAVES) -> float:
    """Processor seconds of `cellwave plan`, from files to the printed table, less what it takes to start."""
    with project(cells, waves) as root:
        return least_s(root, "plan") - least_s(root, "plan", "--help")


def help_s() -> float:
    """Processor seconds of `cellwave --help`."""
    with project(10, 1) as root:
        return least_s(root, "--help")


def plan_peak_mb(cells: int = CELLS, waves: int = WAVES) -> float:
    """The most memory that `cellwave plan` has at once; asked in a process that has had no other child."""
    asked = "import resource, bench.planning as b\n"
    asked += f"with b.project({cells}, {waves}) as root: b.command_s(root, 'plan')\n"
    asked += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    ran = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    return int(ran.stdout) / 1024


def parts_s(cells: int = CELLS, waves: int = WAVES) -> dict[str, float]:
    """Processor seconds of the parts: reading cells and waves, the digests of all inputs, the planner alone."""
    found: dict[str, float] = {}

    def timed(name: str, part: Callable[[], T]) -> T:
        began = time.process_time()
        value = part()
        found[name] = time.process_time() - began
        return value

    with project(cells, waves) as root:
        files = Project(root)
        fleet = timed("read_cells_s", lambda: parse_fleet(files.config_files()))
        strategy = timed("read_waves_s", lambda: parse_strategy(files.waves_file(), fleet))
    release = Release(version="v2", files={"Pulumi.yaml": "1", "__main__.py": "2"}, code={}, views=True)
    beside = Beside("Pulumi.yaml", frozenset(), "", ".yaml", "__main__.py", "python")
    sources, names = Sources(release, fleet, {".": beside}), {cell.name for cell in fleet.cells}
    digests = timed("digests_s", lambda: sources.digests(names))
    inputs = {stack: Inputs(now=digest) for stack, digest in digests.items()}
    timed("make_plan_s", lambda: make_plan(fleet, strategy, release, {}, inputs=inputs))
    return found


def main() -> None:
    """Measure, and print JSON."""
    found = {"plan_10000_s": plan_s(), "plan_10000_one_wave_s": plan_s(waves=1), "help_s": help_s()}
    print(json.dumps(found | {"plan_peak_mb": plan_peak_mb(), "parts": parts_s()}, indent=1))


if __name__ == "__main__":
    main()
