"""Projects of any size, made up: what they would deploy is empty, how much of it there is is not."""

from __future__ import annotations

from pathlib import Path

from cellwave.project import Project

SERVICES = """\
services:
  storage: {program: app, stateful: true}
  ingest: {program: app, needs: [storage]}
  query: {program: app, needs: [storage]}
"""
PAIRED = 4  # of so many cells two are a failover pair


def write(root: Path, cells: int, waves: int, concurrency: int = 100) -> Project:
    """A project of so many cells with three services each, in waves of one size that don't bake."""
    files = {
        "cells/fleet.yaml": SERVICES,
        "cells/one.yaml": _region(cells, waves),
        "waves.yaml": _waves(waves, concurrency),
        "app/Pulumi.yaml": "name: app\nruntime: python\n",
        "app/__main__.py": "",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Project(root)


def change(project: Project) -> None:
    """Make what every cell is deployed from another, as a release would."""
    path = project.root / "app/__main__.py"
    path.write_text(path.read_text() + "# Changed.\n")


def _region(cells: int, waves: int) -> str:
    lines = ["region: one", "endpoint: one.example", "residency: here", "cells:"]
    for number in range(cells):
        wave = number * waves // cells
        other = number ^ 1
        paired = number % PAIRED < 2 and other < cells and other * waves // cells == wave
        failover = f", failover: c{other}" if paired else ""
        place = f'account: "{number:012}", aws_region: us-east-1, labels: {{wave: w{wave}}}'
        lines.append(f"  - {{name: c{number}, {place}{failover}}}")
    return "\n".join(lines) + "\n"


def _waves(waves: int, concurrency: int) -> str:
    lines = [f"  - {{name: w{number}, labels: {{wave: w{number}}}}}" for number in range(waves)]
    return "\n".join([f"concurrency: {concurrency}", "bake: {seconds: 0}", "waves:", *lines]) + "\n"
