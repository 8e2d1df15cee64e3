"""Looks after an attempt from outside: passes progress on, and a wish to abort in; names what is silent and ends what
is over its time. Only what was watched counts: after a freeze of the whole host nothing is late."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Hashable
from typing import NamedTuple

from pydantic import ValidationError

from cellwave.deploy.attempt import ENGINE, PACKAGES, STARTING, Attempt
from cellwave.deploy.deadlines import Deadlines
from cellwave.deploy.events import Tail
from cellwave.deploy.port import Job, Progress, Result
from cellwave.errors import Fault
from cellwave.processes import end_holders, holders

POLL = 0.1  # seconds between two looks
LONGEST_LOOK = 5.0  # seconds that count between two looks: a frozen watcher has seen nothing of those between
LETS_GO_WITHIN = 5.0  # seconds between the end of an attempt's processes and that of their lock
TOLD_EVERY = 5.0  # seconds between two words on what is silent


class Hung(Exception):
    """The attempt's processes are to be ended; this is then its result."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.reason)
        self.result = result


class _Silence(NamedTuple):
    """A part that has shown nothing new for `seconds`, of at most `limit`."""

    part: str
    seconds: float
    limit: float


class Watch:
    """One attempt, watched by one thread."""

    def __init__(
        self,
        attempt: Attempt,
        job: Job,
        deadlines: Deadlines,
        progress: Callable[[Progress], None],
        aborted: Callable[[], bool],
    ) -> None:
        self._attempt, self._job, self._deadlines = attempt, job, deadlines
        self._progress, self._aborted = progress, aborted
        self._tail = Tail(attempt.events)
        self._clock, self._looked = 0.0, time.monotonic()
        self._told = 0.0
        self._seen: dict[str, tuple[Hashable, float]] = {}
        self._asked: float | None = None
        self._interrupts = 0

    def close(self) -> None:
        """Watch no more."""
        self._tail.close()

    def until_free(self) -> int:
        """Wait until no process of the attempt is left; returns its held lock. Raises Hung."""
        while (lock := self._attempt.try_lock()) is None:
            self.look()
            time.sleep(POLL)
        return lock

    def until_told(self, connection: socket.socket) -> Result | None:
        """Wait for the driver's result; None when it was killed. Raises Hung."""
        told = b""
        with connection:
            while True:
                if select.select([connection], [], [], POLL)[0]:
                    more = connection.recv(1 << 20)
                    if not more:
                        break
                    told += more
                else:
                    self.look()
        for event in self._tail.progress():
            self._progress(event)
        with contextlib.suppress(ValidationError):
            return Result.model_validate_json(told)
        return None

    def look(self) -> None:
        """One look at everything; Hung when the attempt is to be ended."""
        now = time.monotonic()
        self._clock, self._looked = self._clock + min(now - self._looked, LONGEST_LOOK), now
        for event in self._tail.progress():
            self._progress(event)
            self._told = self._clock
        silences = self._silences()
        if self._asked is not None or self._aborted():
            self._abort(silences[0].seconds)
            return
        for silence in silences:
            if silence.seconds > silence.limit:
                why = f"{self._words(silence.part)} showed no sign of life for {_time(silence.seconds)}"
                # A program that waits for ever looks like a provider, or an engine, that does.
                raise Hung(_late(why, "host" if silence.part == "driver" else "unknown"))
        if self._clock > (whole := self._deadlines.whole[self._job.operation]):
            raise Hung(_late(f"it took longer than {_time(whole)}", "unknown"))
        self._name(silences)

    def look_before(self) -> None:
        """One look while nothing has begun; Hung when it is called off."""
        if self._aborted():
            raise Hung(Result(outcome="aborted", reason="it was called off before it began", began=False))
        self.look()

    def _abort(self, driver_silent: float) -> None:
        """Ask for an early end; from outside when the driver is silent, and by force when nothing helps."""
        limits, now = self._deadlines, self._clock
        self._asked = now if self._asked is None else self._asked
        self._attempt.ask_abort()
        asked = now - self._asked
        if driver_silent > limits.outside and asked >= limits.outside + self._interrupts * limits.grace:
            self._interrupts += 1
            if self._interrupts <= 2:
                _interrupt(self._attempt)
        if asked > limits.outside + limits.grace + limits.kill_after + limits.outside:
            reason = "interrupted on request; it did not end by itself, and was killed"
            raise Hung(Result(outcome="aborted", reason=reason))

    def _silences(self) -> list[_Silence]:
        """How long each part has been silent, the one that waits for all others first."""
        limits, (phase, beat) = self._deadlines, self._attempt.sign
        # A driver of an older version gives no sign.
        longest = {PACKAGES: limits.packages, STARTING: limits.driver + 2 * limits.accept, "": limits.event}
        silences = [self._silence("driver", (phase, beat), longest.get(phase, limits.driver))]
        if phase != ENGINE:
            for part in ("engine", "step"):
                self._seen.pop(part, None)
        else:
            told, *printed = (
                _size(file) for file in (self._attempt.events, self._attempt.log, self._attempt.program_log)
            )
            silences.append(self._silence("engine", (told, *printed), limits.engine))
            silences.append(self._silence("step", told, limits.event))
        return silences

    def _silence(self, part: str, sign: Hashable, limit: float) -> _Silence:
        known, since = self._seen.get(part, (None, 0.0))
        if known != sign:
            since = self._clock
        self._seen[part] = (sign, since)
        return _Silence(part, self._clock - since, limit)

    def _name(self, silences: list[_Silence]) -> None:
        """Tell the watcher of the first that is silent, now and then."""
        named = self._deadlines.named
        silence = next((silence for silence in silences if silence.seconds > named), None)
        if silence and self._clock - self._told > min(TOLD_EVERY, named):
            self._told = self._clock
            text = f"{self._words(silence.part)}, silent for {_time(silence.seconds)}"
            self._progress(Progress(operation="waiting for", resource=text, done=self._tail.done))

    def _words(self, part: str) -> str:
        if part == "step":
            return ", ".join(self._tail.under_way[:3]) or "the program or a provider"
        if part == "engine":
            return "the engine"
        does = "starts deployments" if self._attempt.sign[0] == STARTING else "runs the deployment"
        return f"the process that {does}"


def end(attempt: Attempt, result: Result) -> Result:
    """End every process of an attempt, frozen ones too; its result, which is the given one unless it has one now."""
    end_holders(attempt.lock_file)
    # A driver that had begun all the same has said so.
    result = result.model_copy(update={"began": result.began or attempt.sign[0] not in ("", STARTING)})
    # A killed process of many threads lets go of it a moment after it is seen to have ended.
    deadline = time.monotonic() + LETS_GO_WITHIN
    while (lock := attempt.try_lock()) is None and time.monotonic() < deadline:
        time.sleep(POLL)
    if lock is None:
        return result.model_copy(update={"reason": f"{result.reason}; a process of it can't be ended"})
    try:
        if found := attempt.result():
            return found
        attempt.finish(result)
        return result
    finally:
        os.close(lock)


def _interrupt(attempt: Attempt) -> None:
    """Interrupt the attempt's engine: what holds its lock and leads its own session of engine and plugins."""
    for process in holders(attempt.lock_file):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == process.pid and process.name() == "pulumi":
                os.killpg(process.pid, signal.SIGINT)


def _late(reason: str, fault: Fault) -> Result:
    return Result(outcome="failed", reason=f"{reason}, and was ended", fault=fault)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _size(file: os.PathLike[str]) -> int:
    try:
        return os.stat(file).st_size
    except FileNotFoundError:
        return -1
