"""What the deployer's contract suite needs to know of the world that a deployer changes, real or fake."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Protocol

from cellwave.deploy.port import Deployer, Job, Operation

PROGRAM = Path(__file__).parent / "programs" / "shop"
ACCOUNT = "200000000009"
DEFAULTS: dict[str, Any] = {
    "account": ACCOUNT,
    "region": "us-east-1",
    "version": "v1",
    "bucket": "goods",
    "timeout": 30,
    "pause": 0,
    "held": "",
    "broken": False,
    "logs": False,
}
# The stack itself, its provider, and the three resources.
RESOURCES = 5


class World(Protocol):
    """A state backend and a cloud account, with a hand to spoil them."""

    def deployer(self) -> Deployer:
        """A deployer on this world."""
        ...

    def restarted(self) -> Deployer:
        """A new deployer on this world, as a restarted worker has it."""
        ...

    def there(self, stack: str) -> dict[str, str]:
        """The stack's physical resources by kind (bucket, queue, parameter, logs) with a telling value."""
        ...

    def is_made(self, stack: str) -> bool:
        """Whether the backend knows the stack at all."""
        ...

    def recorded(self, stack: str) -> set[str]:
        """The kinds of resources that the stack's state holds."""
        ...

    def pending(self, stack: str) -> int:
        """How many operations the state has as begun and not ended."""
        ...

    def is_locked(self, stack: str) -> bool:
        """Whether the backend holds a lock on the stack."""
        ...

    def lock(self, stack: str, *, living: bool) -> str:
        """Leave a lock as another engine would, alive or killed; returns its owner."""
        ...

    def by_hand(self, stack: str, source: Path) -> None:
        """Bring a release's folder to the stack by a literal `pulumi up`."""
        ...

    def kill_engine(self, stack: str) -> None:
        """Kill -9 the engine that runs on the stack, once it has made the bucket."""
        ...

    def cut_off(self, stack: str, kind: str) -> None:
        """Make the stack look as if its engine was killed just after it had made the resource."""
        ...

    def cut_off_update(self, stack: str, version: str) -> None:
        """Make the stack look as if its engine was killed just after it had given the parameter this value."""
        ...


def release(folder: Path, **settings: Any) -> Path:
    """A release's folder with the shop's program and these settings."""
    shutil.copytree(PROGRAM, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "settings.json").write_text(json.dumps({**DEFAULTS, **settings}))
    return folder


def held(folder: Path, **settings: Any) -> Path:
    """Another, whose program waits between the bucket and the queue for as long as the file `held` is in the folder."""
    made = release(folder, **settings, held=str(folder / "held"))
    (made / "held").touch()
    return made


def job(attempt: str, stack: str, source: Path, operation: Operation = "up", **more: Any) -> Job:
    """A job that runs the release in the folder, and what else it says."""
    return Job(
        attempt=attempt, stack=stack, operation=operation, program=str(source), source=str(source), **more
    )
