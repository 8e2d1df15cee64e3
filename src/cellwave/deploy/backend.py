"""What a state backend tells of its stacks: which there are, when each was last written, and by which updates.

The release that an update was for is in its message: every program has one, whatever it makes and in whatever
language. A literal `pulumi up` has another (the title of the last commit, or none).
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from cellwave.deploy.checkpoint import StackFiles
from cellwave.deploy.port import Job
from cellwave.errors import Unavailable
from cellwave.frozen import Frozen
from cellwave.states import State
from cellwave.target import backend_folder
from cellwave.text import redact

UPDATES = 10  # the newest of a stack that are read
ENGINES = 4  # that ask at once
SECONDS = 120.0  # that one question may take
WORKTREE = "worktree"  # a release that is none: what was deployed by hand
MESSAGE = re.compile(r"cellwave: release (?P<release>\S+), attempt ")


class Update(Frozen):
    """An update of a stack that has come to its end (`ended_at`: epoch seconds, whole ones).

    `kind` is the engine's: update, destroy, refresh, import … `release` is the digest of the release it was for, None
    when it was not cellwave's. `changed` is false when all it met was as wanted already.
    """

    kind: str
    release: str | None
    ended_at: float
    succeeded: bool
    changed: bool


class BackendStack(Frozen):
    """A stack as its state backend has it. `resources` counts what its state holds, components and providers too;
    `written_at` is when the state was last written (epoch seconds, 0: never); `updates` are its last, newest first.

    `trouble` says why a state can't be read.
    """

    project: str
    name: str
    resources: int = 0
    written_at: float = 0.0
    updates: tuple[Update, ...] = ()
    trouble: str = ""


class StateBackend(Protocol):
    """Where the engine keeps what it knows of stacks."""

    def stacks(self) -> list[BackendStack]:
        """Every stack of every project, by project and name. Unavailable when the backend can't be asked."""
        ...

    def resources(self, stack: BackendStack) -> list[State]:
        """A stack's resources as its state has them, secrets encrypted. Unavailable when it can't be read."""
        ...


def message_of(job: Job) -> str:
    """What an update says of itself in the backend's history."""
    return f"cellwave: release {job.release or WORKTREE}, attempt {job.attempt}"


def open_backend(engine: Path, environment: Mapping[str, str]) -> StateBackend:
    """The backend that the environment names: a folder is read, any other is asked through the engine."""
    root = backend_folder(environment["PULUMI_BACKEND_URL"])
    if root is not None and (folder := FolderBackend(root / ".pulumi")).is_usable:
        return folder
    return EngineBackend(engine, environment)


@dataclass(frozen=True)
class FolderBackend:
    """A `file://` backend, in its layout of one folder a project. Reading it costs milliseconds a stack."""

    root: Path

    @property
    def is_usable(self) -> bool:
        """Whether the layout, and every file's encoding, is one that this class reads."""
        known = StackFiles(self.root, "", "").is_usable
        return known and not any((self.root / "stacks").glob("*/*.json.zst"))

    def stacks(self) -> list[BackendStack]:
        """See StateBackend."""
        files = (self.root / "stacks").glob("*/*.json*")
        return [
            _in_folder(self.root, file) for file in sorted(files) if file.name.endswith((".json", ".json.gz"))
        ]

    def resources(self, stack: BackendStack) -> list[State]:
        """See StateBackend."""
        plain = self.root / "stacks" / stack.project / f"{stack.name}.json"
        try:
            return _resources(
                _read(plain if plain.exists() else plain.with_suffix(".json.gz")).get("checkpoint")
            )
        except (OSError, EOFError, ValueError) as error:
            raise Unavailable(redact(f"the state of {stack.name} can't be read: {error}")) from None


def _in_folder(root: Path, file: Path) -> BackendStack:
    project, name = file.parent.name, file.name.removesuffix(".gz").removesuffix(".json")
    try:
        latest = (_read(file).get("checkpoint") or {}).get("latest") or {}
        time = (latest.get("manifest") or {}).get("time")
        return BackendStack(
            project=project,
            name=name,
            resources=len(latest.get("resources") or ()),
            written_at=_seconds(time),
            updates=tuple(islice(_updates(_history(root / "history" / project / name)), UPDATES)),
        )
    except (OSError, EOFError, ValueError) as error:
        return BackendStack(project=project, name=name, trouble=redact(f"{file}: {error}"))


def _history(folder: Path) -> Iterator[Mapping[str, Any]]:
    """The newest first: a file's name ends with nanoseconds since the epoch."""
    files = [file for file in folder.glob("*.history.json*") if file.name.endswith((".json", ".json.gz"))]
    for file in sorted(files, key=lambda file: file.name.partition(".history")[0], reverse=True):
        yield _read(file)


def _read(file: Path) -> dict[str, Any]:
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    read: dict[str, Any] = json.loads(content)
    return read


@dataclass(frozen=True)
class EngineBackend:
    """Any backend, asked through the engine: about 0.3 s for the list and as much for each stack's updates."""

    engine: Path
    environment: Mapping[str, str]

    def stacks(self) -> list[BackendStack]:
        """See StateBackend."""
        listed = self._ask("ls", "--all", "--json")
        with ThreadPoolExecutor(ENGINES) as pool:
            return sorted(pool.map(self._stack, listed), key=lambda stack: (stack.project, stack.name))

    def resources(self, stack: BackendStack) -> list[State]:
        """See StateBackend."""
        names = (listed["name"] for listed in self._ask("ls", "--all", "--json"))
        whole = next((n for n in names if n.endswith(f"/{stack.project}/{stack.name}")), stack.name)
        return _resources({"latest": self._ask("export", "--stack", whole).get("deployment")})

    def _stack(self, listed: Mapping[str, Any]) -> BackendStack:
        _, project, name = listed["name"].rsplit("/", 2)
        about = BackendStack(
            project=project,
            name=name,
            resources=listed.get("resourceCount") or 0,
            written_at=_seconds(listed.get("lastUpdate")),
        )
        try:
            history = self._ask("history", "--stack", listed["name"], "--json", "--page-size", str(UPDATES))
        except Unavailable as gone:  # taken away meanwhile, or its settings can't be decrypted
            return about.model_copy(update={"trouble": gone.message})
        return about.model_copy(update={"updates": tuple(_updates(history))})

    def _ask(self, *arguments: str) -> Any:
        variables = {**self.environment, "PULUMI_SKIP_UPDATE_CHECK": "true"}
        command = [str(self.engine), "stack", *arguments, "--non-interactive"]
        with tempfile.TemporaryDirectory() as nowhere:  # no project's settings are to be read
            try:
                done = subprocess.run(
                    command,
                    cwd=nowhere,
                    env=variables,
                    capture_output=True,
                    text=True,
                    timeout=SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise Unavailable(f"`pulumi stack {arguments[0]}` took more than {SECONDS:.0f} s") from None
        if done.returncode != 0:
            said = redact(done.stderr.strip() or done.stdout.strip())
            raise Unavailable(f"the state backend can't be asked: {said}", hint="PULUMI_BACKEND_URL names it")
        return json.loads(done.stdout or "null") or []


def _resources(checkpoint: Mapping[str, Any] | None) -> list[State]:
    found: list[State] = ((checkpoint or {}).get("latest") or {}).get("resources") or []
    return found


def _updates(history: Iterable[Mapping[str, Any]]) -> Iterator[Update]:
    for entry in history:
        ours = MESSAGE.match(entry.get("message") or "")
        yield Update(
            kind=entry["kind"],
            release=ours["release"] if ours else None,
            ended_at=_seconds(entry.get("endTime")),
            succeeded=entry.get("result") == "succeeded",
            changed=bool(set(entry.get("resourceChanges") or {}) - {"same"})
            or entry.get("result") != "succeeded",
        )


def _seconds(time: str | float | None) -> float:
    """Epoch seconds of a time as the engine (RFC 3339) or its files (a number, in the history) have it; 0 for none."""
    if time is None:
        return 0.0
    at = datetime.fromisoformat(time).timestamp() if isinstance(time, str) else float(time)
    return max(0.0, at)
