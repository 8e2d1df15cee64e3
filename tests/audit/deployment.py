"""A whole cell, deployed by the literal `pulumi` command line from a release's folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3

from cellwave.fleet.model import Fleet
from cellwave.fleet.parse import parse_fleet
from cellwave.project import Project

ROOT = Path(__file__).parents[2]
CELL = "eu-west-1"
SERVICES = ("storage", "directory", "ingest", "router", "query")
ACCOUNTS = ("2000000000", "3300000000")  # of the project's fleet, and in their place those of this test


@dataclass
class Deployment:
    """A copy of what a release carries, and nothing else, with state of its own."""

    folder: Path
    environment: dict[str, str]
    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    _outputs: dict[str, dict[str, str]] = field(default_factory=dict)

    @cached_property
    def fleet(self) -> Fleet:
        """The copy's fleet."""
        return parse_fleet(Project(self.folder).config_files())

    def pulumi(self, *argv: str, cwd: Path | None = None, fails: bool = False) -> str:
        """Run the command line; its output."""
        done = subprocess.run(
            ["pulumi", "--non-interactive", *argv],
            cwd=cwd or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def up(self, stack: str, *flags: str) -> None:
        """As a person types it."""
        self._outputs.pop(stack, None)
        self.pulumi("stack", "select", "--create", stack)
        self.pulumi("up", "--yes", "--skip-preview", *flags)

    def outputs(self, service: str) -> dict[str, str]:
        """A service's stack outputs, which the engine is asked for once after each deployment."""
        stack = f"{CELL}.{service}"
        if stack not in self._outputs:
            self._outputs[stack] = json.loads(self.pulumi("stack", "output", "--json", "--stack", stack))
        return self._outputs[stack]

    def key(self, *argv: str) -> dict[str, str]:
        """A new key, as an Authorization header."""
        return {"Authorization": f"Bearer {json.loads(self.admin('key', *argv))['key']}"}

    def admin(self, *argv: str, check: bool = True) -> str:
        """What `cellwave audit` prints."""
        done = subprocess.run(
            [sys.executable, "-m", "cellwave.cli.main", "audit", *argv],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=check,
        )
        return done.stdout

    def pull(self) -> dict[str, Any]:
        """What the cell's directory answers when it is called, without waiting for its schedule."""
        return self.call("directory")

    def call(self, function: str, **event: str) -> dict[str, Any]:
        """What a function of the cell answers, called by its alias as its schedule does."""
        answer = self.aws("lambda").invoke(
            FunctionName=f"{CELL}-{function}", Qualifier="live", Payload=json.dumps(event).encode()
        )
        found: dict[str, Any] = json.loads(answer["Payload"].read())
        return found

    def aws(self, service: str) -> Any:
        """A client in the cell's account and region."""
        cell = self.fleet.cell(CELL)
        return boto3.client(
            service,  # type: ignore[call-overload]
            region_name=cell.aws_region,
            aws_access_key_id=cell.account,
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )


def until(condition: Callable[[], bool], within: float = 60) -> None:
    """Wait for a condition."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.2)


def release_folder(folder: Path) -> None:
    """Copy what cells/fleet.yaml includes, into accounts of this test's own."""
    for path in sorted((ROOT / "cells").glob("*.yaml")):
        (folder / "cells").mkdir(exist_ok=True)
        (folder / "cells" / path.name).write_text(path.read_text().replace(*ACCOUNTS))
    fleet = parse_fleet(Project(folder).config_files())
    services = [fleet.service(CELL, name) for name in SERVICES]
    for name in {path for service in services for path in (*service.include, *service.code)}:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    shutil.copy(ROOT / "waves.yaml", folder)
    # Pulumi.yaml names it, and the language host takes a program's word.
    (folder / ".cellwave").mkdir()
    (folder / ".cellwave" / "venv").symlink_to(ROOT / ".cellwave" / "venv")
    (folder / "release.json").write_text('{"version": "test", "files": {}, "code": {}}')
