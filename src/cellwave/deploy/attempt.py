"""An attempt's folder: what must outlive the worker that started it.

`lock` is held by flock by every process of the attempt (the driver and the engine, through an inherited file), so
it is free exactly when none of them runs any more. `result.json` is written once, at the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
import traceback
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from pydantic import ValidationError

from cellwave.deploy.port import Job, Result
from cellwave.processes import end_holders
from cellwave.text import redact

CALLED_OFF_SECONDS = 45.0  # an interrupted engine finishes what it has begun
POLL_SECONDS = 0.1
# What an attempt's driver is at.
STARTING, PREPARING, PACKAGES, ENGINE = "starting", "preparing", "packages", "engine"
LONGEST_NAME = 150  # characters; a file system takes 255 bytes


@dataclass(frozen=True)
class Attempt:
    """The folder of one attempt."""

    folder: Path

    @property
    def work(self) -> Path:
        """The engine's working directory: a Pulumi.yaml of its own, shared with no other stack."""
        return self.folder / "work"

    @property
    def events(self) -> Path:
        """The engine's event log: one JSON object a line."""
        return self.folder / "events.jsonl"

    @property
    def log(self) -> Path:
        """What the engine's last command printed."""
        return self.folder / "engine.log"

    @property
    def program_log(self) -> Path:
        """What the program printed."""
        return self.folder / "program.log"

    @property
    def traceback(self) -> Path:
        """Where in cellwave's own code an exception came from that nobody expected."""
        return self.folder / "traceback.log"

    def keep_traceback(self, error: BaseException) -> None:
        """Write an unexpected exception down, whole but for secrets, after what is there."""
        with contextlib.suppress(OSError):  # a full disk
            text = redact("".join(traceback.format_exception(error)))
            descriptor = os.open(self.traceback, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "w", errors="backslashreplace") as file:
                file.write(text)
            if not self.number:  # it came before the engine's
                self._take_number()

    @property
    def lock_file(self) -> Path:
        """What every process of the attempt has open, and holds by flock."""
        return self.folder / "lock"

    @property
    def sign(self) -> tuple[str, int]:
        """What its driver is at, and a number that is another one with every sign that it gives."""
        trail = self.trail()
        try:
            return trail[-1][1] if trail else "", self._sign.stat().st_mtime_ns
        except FileNotFoundError:
            return "", 0

    def trail(self) -> list[tuple[float, str, str]]:
        """What its driver was at, in order: since when (seconds since boot), the phase, and what of it."""
        try:
            lines = [line.split(" ") for line in self._sign.read_text().splitlines()]
        except FileNotFoundError:
            return []
        # A line that is still being written, or is an older version's, tells nothing.
        return [(float(line[0]), line[1], line[2]) for line in lines if len(line) == 3]

    def give_sign(self, phase: str = "", detail: str = "") -> None:
        """Show that the driver lives, and what it is at from now on ("": what it was at)."""
        with contextlib.suppress(OSError):  # a full disk
            if phase:
                with self._sign.open("a") as file:
                    file.write(f"{time.monotonic():.3f} {phase} {detail}\n")
            os.utime(self._sign)

    @property
    def _sign(self) -> Path:
        return self.folder / "sign"

    @property
    def begun_at(self) -> float:
        """When its last run began (epoch seconds); 0 when none did."""
        try:
            return self._job.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    @property
    def number(self) -> int:
        """How many runs had begun in this home when its last one did; 0 when none did.

        A clock that was set back would not tell which was the newest.
        """
        try:
            return int((self.folder / "number").read_text())
        except (OSError, ValueError):
            return 0

    @property
    def _job(self) -> Path:
        return self.folder / "job.json"

    @property
    def abort_asked(self) -> bool:
        """Whether somebody wants the attempt to end early."""
        return (self.folder / "abort").exists()

    def ask_abort(self) -> None:
        """Ask whoever runs the attempt to end it early."""
        (self.folder / "abort").touch()

    def begin(self, job: Job) -> None:
        """Make the folder ready for a run of the job; what an earlier, killed run left goes."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        for leftover in (self.events, self.log, self.program_log, self.traceback, self.folder / "abort"):
            leftover.unlink(missing_ok=True)
        self._take_number()
        self._job.write_text(job.model_dump_json())

    def _take_number(self) -> None:
        (self.folder / "number").write_text(str(_count(self.folder.parent.with_name("deploy.count"))))

    def job(self) -> Job | None:
        """What was, or is, run; None before that."""
        try:
            return Job.model_validate_json(self._job.read_text())
        except (OSError, ValidationError):
            return None

    def result(self) -> Result | None:
        """The result of an attempt that has ended; None while it has none."""
        try:
            return Result.model_validate_json((self.folder / "result.json").read_text())
        except (OSError, ValidationError):
            return None

    def finish(self, result: Result) -> None:
        """Write the result, whole or not at all."""
        partial = self.folder / "result.partial"
        partial.write_text(result.model_dump_json())
        partial.replace(self.folder / "result.json")

    def tidy(self) -> None:
        """Drop what nobody needs after a success; after a failure a person may want to read it."""
        shutil.rmtree(self.work, ignore_errors=True)
        for spent in (self.events, self.log, self.program_log, self.traceback):
            spent.unlink(missing_ok=True)

    @property
    def touched_at(self) -> float:
        """When something was last made in its folder (epoch seconds); 0 when it is gone."""
        try:
            return self.folder.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def remove(self) -> int | None:
        """Remove the folder of an attempt that nobody runs or will run again; its bytes, None when it still runs."""
        lock = self.try_lock()
        if lock is None:
            return None
        size = sum(file.lstat().st_size for file in self.folder.rglob("*") if file.is_file())
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(lock)
        return size

    @property
    def runs(self) -> bool:
        """Whether any process of it (driver, engine) lives."""
        lock = self.try_lock()
        if lock is not None:
            os.close(lock)
        return lock is None

    def try_lock(self) -> int | None:
        """A descriptor that holds the attempt's lock, or None while another process holds it."""
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor


def attempts_in(home: Path) -> Iterator[tuple[str, Attempt]]:
    """Every attempt that left a folder, by its name (one that was too long is cut)."""
    folder = attempts_folder(home)
    if folder.is_dir():
        yield from ((unquote(path.name), Attempt(path)) for path in folder.iterdir())


def _count(file: Path) -> int:
    """One more than the file says, which says so from now on."""
    with file.open("a+") as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)
        kept.seek(0)
        number = int(kept.read() or "0") + 1
        kept.truncate(0)
        kept.write(str(number))
    return number


def attempts_folder(home: Path) -> Path:
    """The folder of all attempts' folders."""
    return home / "deploy"


def call_off(home: Path, rollouts: Collection[str], seconds: float = CALLED_OFF_SECONDS) -> list[str]:
    """Interrupt the engines that these rollouts' workers left running, and wait for their end; those still running.

    What has not ended after `seconds`, frozen for instance, is killed.
    """
    attempts = [(name, attempt) for name, attempt in attempts_in(home) if name.split(":")[0] in rollouts]
    deadline = time.monotonic() + seconds
    while running := [(name, attempt) for name, attempt in attempts if attempt.runs]:
        if time.monotonic() > deadline:
            return [name for name, attempt in running if not end_holders(attempt.lock_file)]
        for _, attempt in running:
            attempt.ask_abort()
        time.sleep(POLL_SECONDS)
    return []


def open_attempt(home: Path, name: str) -> Attempt:
    """The folder of the attempt of that name, made when it is not there."""
    plain = quote(name, safe="-_+=@,")
    if len(plain) > LONGEST_NAME:
        plain = plain[:LONGEST_NAME] + hashlib.sha256(name.encode()).hexdigest()[:16]
    folder = attempts_folder(home) / plain
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Attempt(folder)
