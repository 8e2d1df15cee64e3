"""A project of two cells with a sandbox of its own, spoken to through the command line alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cellwave.project import Project
from cellwave.rollout.presence import worker_pid
from cellwave.rollout.records import Records
from cellwave.sandbox import server
from tests.keeping import kept

ROOT = Path(__file__).parents[2]
WAVES = """
concurrency: 2
bake: {seconds: 5, samples: 5, limit: 60, patience: 600}
waves:
  - {name: canary, cells: [ap-south-1]}
  - {name: early, cells: [eu-west-1]}
"""


@dataclass(frozen=True)
class Story:
    """The project, and what a person can do with it."""

    project: Project
    environment: dict[str, str]

    def run(self, *arguments: str, code: int = 0, timeout: float = 1200) -> str:
        """Run `cellwave` and insist on its exit code; its standard output."""
        argv = [sys.executable, "-m", "cellwave.cli.main", *arguments]
        done = subprocess.run(
            argv,
            cwd=self.project.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == code, (
            f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """Run a `--json` command."""
        return json.loads(self.run(*arguments, "--json"))

    @property
    def records(self) -> Records:
        """The project's database."""
        return Records(self.project.database_url.replace(str(Project(ROOT).home), str(self.project.home)))

    def pid_of_worker(self) -> int | None:
        """The worker's process id."""
        locks = self.project.home.glob("worker-*.lock")
        return next((pid for lock in locks if (pid := worker_pid(lock)) is not None), None)

    def wait(self, what: str, condition: Callable[[], Any], seconds: float = 400) -> Any:
        """Poll until the condition holds."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"{what} did not come about in {seconds} s"
            time.sleep(0.05)
        return value


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The project, its sandbox up."""
    root = tmp_path_factory.mktemp("story")
    for name in ("Pulumi.yaml", "requirements.lock"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "cells").mkdir()
    for name in ("fleet.yaml", "ap-south-1.yaml", "eu-west-1.yaml"):
        shutil.copy(ROOT / "cells" / name, root / "cells")
    (root / "demo").mkdir()
    slower = (ROOT / "demo" / "demo.yaml").read_text().replace('"18"', '"8"')
    (root / "demo" / "demo.yaml").write_text(slower)
    (root / "waves.yaml").write_text(WAVES)
    (root / ".cellwave").mkdir()
    for name in ("bin", "venv"):  # the engine, and the virtual environment that Pulumi.yaml names
        (root / ".cellwave" / name).symlink_to(ROOT / ".cellwave" / name)
    project = Project(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CELLWAVE_HOME", raising=False)
        own = ("AWS_", "PULUMI_", "CELLWAVE_")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(own)} | {"COLUMNS": "160"}
        with kept(project):
            server.up(project, print)
            yield Story(project, environment)
