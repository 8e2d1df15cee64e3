"""What the state backend knows of a stack: whether it is there, who locks it, and its last deployment.

For a backend in a directory this reads the files themselves, which costs nothing; for any other the engine is asked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from cellwave.target import backend_folder

Deployment = dict[str, Any]
Exported = dict[str, Any]  # as `pulumi stack export` writes it: version, features, deployment

ENGINE = "pulumi"  # what the process that takes a lock is called
LOCKED = re.compile(r"created by (?P<user>\S+?)@(?P<host>\S+) \(pid (?P<pid>[0-9]+)\) at (?P<at>\S+)")


@dataclass(frozen=True)
class StackLock:
    """A lock of the engine's on a stack. `file` is None when the backend is no directory."""

    host: str
    pid: int
    user: str
    at: float
    file: Path | None = None

    @property
    def owner(self) -> str:
        """Who holds it, in words."""
        return f"{self.user}@{self.host} (pid {self.pid})"

    @property
    def since(self) -> str:
        """Since when, in words."""
        return f"{datetime.fromtimestamp(self.at, UTC):%Y-%m-%d %H:%M:%S} UTC"

    @property
    def is_elsewhere(self) -> bool:
        """Whether its process runs, or ran, on another host."""
        return self.host != socket.gethostname()

    def is_dead_to(self, dead_hosts: Mapping[str, float]) -> bool:
        """Whether its process ran on this host and is gone for certain, or on one of these before that time (epoch
        seconds); what ran elsewhere never is.

        No clock is asked: it may have been corrected since. A pid that another engine was given holds the lock until
        that one ends.
        """
        if self.is_elsewhere:
            return self.host in dead_hosts and self.at <= dead_hosts[self.host]
        try:
            process = psutil.Process(self.pid)
            return process.status() == psutil.STATUS_ZOMBIE or not process.name().startswith(ENGINE)
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False


@dataclass(frozen=True)
class StackFiles:
    """A state backend in a directory (`file://…`), in its layout of one folder a project."""

    root: Path
    project: str
    stack: str

    @property
    def file(self) -> Path:
        """The stack's checkpoint."""
        return self.root / "stacks" / self.project / f"{self.stack}.json"

    @property
    def is_usable(self) -> bool:
        """Whether the layout is the one that this class reads."""
        try:
            return re.search(r"^version: 1$", (self.root / "meta.yaml").read_text(), re.MULTILINE) is not None
        except OSError:
            return False

    def has_stack(self) -> bool:
        """Whether the stack was made, in whatever encoding."""
        return any(self.file.with_name(self.file.name + ending).exists() for ending in ("", ".gz", ".zst"))

    def make_stack(self) -> None:
        """Make the stack with nothing in it, as `pulumi stack init` would; nothing happens when it is there.

        The engine makes a secrets manager for a state that has none, at its first update. Killed anywhere, the stack is
        there, whole, or not.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        state = {"version": 3, "checkpoint": {"stack": f"organization/{self.project}/{self.stack}"}}
        name = f"{self.file.name}."
        with tempfile.NamedTemporaryFile("w", dir=self.file.parent, prefix=name, suffix=".tmp") as fresh:
            json.dump(state, fresh)
            fresh.flush()
            os.fsync(fresh.fileno())
            with suppress(FileExistsError):
                os.link(fresh.name, self.file)

    def locks(self) -> tuple[StackLock, ...]:
        """The engine's locks on the stack."""
        folder = self.root / "locks" / "organization" / self.project / self.stack
        found = []
        for file in folder.glob("*.json"):
            try:
                content = json.loads(file.read_text())
            except (OSError, ValueError):
                continue
            at = datetime.fromisoformat(content["timestamp"]).timestamp()
            found.append(StackLock(content["hostname"], content["pid"], content["username"], at, file))
        return tuple(found)

    def tidy(self, *, crashed: bool) -> None:
        """Mend what a killed engine or a full disk left half-written; call when nobody holds a lock.

        A file's `.attrs` are written in place: torn ones keep the engine from reading the file, missing ones don't.
        A torn checkpoint's predecessor is its `.bak`, in which what came after it is still pending.
        """
        for side in (self.root / "meta.yaml.attrs", *self.file.parent.glob(f"{self.file.name}*.attrs")):
            if _is_torn(side):
                side.unlink(missing_ok=True)
        backup = self.file.with_name(self.file.name + ".bak")
        if _is_torn(self.file) and backup.exists() and not _is_torn(backup):
            fresh = self.file.with_name(self.file.name + ".mended")
            shutil.copy(backup, fresh)
            fresh.replace(self.file)
        if crashed:
            for partial in self.file.parent.glob(f"{self.file.name}.*tmp"):
                partial.unlink(missing_ok=True)

    def export(self) -> Exported:
        """The last deployment, in the form of `pulumi stack export`."""
        kept = json.loads(self.file.read_text())
        latest = kept.pop("checkpoint").get("latest")
        return {**kept, "deployment": latest}


def made_since(resource: Mapping[str, Any], since: float | None) -> bool:
    """Whether the engine made a resource of a deployment at or after `since` (epoch seconds; None: never).

    One whose time it did not note was there before: what may be somebody's stays.
    """
    noted = resource.get("created")
    return since is not None and noted is not None and datetime.fromisoformat(noted).timestamp() >= since


def is_physical(resource: Mapping[str, Any]) -> bool:
    """Whether a resource of a deployment is something in the cloud: neither a component nor a provider."""
    return bool(resource.get("custom")) and not resource["type"].startswith("pulumi:")


def _is_torn(side: Path) -> bool:
    try:
        json.loads(side.read_text())
    except ValueError:
        return True
    except OSError:
        return False
    return False


def stack_files(environment: Mapping[str, str], project: str, stack: str) -> StackFiles | None:
    """The directory of a `file://` backend; None for any other."""
    root = backend_folder(environment.get("PULUMI_BACKEND_URL", ""))
    return StackFiles(root / ".pulumi", project, stack) if root else None


def locks_in(text: str) -> tuple[StackLock, ...]:
    """The locks that the engine names when it refuses to work on a locked stack."""
    if "currently locked by" not in text:
        return ()
    return tuple(
        StackLock(m["host"], int(m["pid"]), m["user"], datetime.fromisoformat(m["at"]).timestamp())
        for m in LOCKED.finditer(text)
    )


def break_lock(lock: StackLock) -> None:
    """Remove a dead owner's lock file: that very file, so a lock taken meanwhile by somebody else stays."""
    if lock.file is not None:
        lock.file.unlink(missing_ok=True)
        lock.file.with_name(lock.file.name + ".attrs").unlink(missing_ok=True)
