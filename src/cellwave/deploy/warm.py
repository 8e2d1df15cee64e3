"""The worker's side of the warm process, in forks of which every job runs (forks.py)."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from cellwave.deploy.attempt import STARTING, Attempt
from cellwave.deploy.deadlines import Deadlines
from cellwave.deploy.port import Job
from cellwave.deploy.watch import Watch
from cellwave.errors import Unavailable
from cellwave.processes import end_holders

POLL = 0.1  # seconds between two looks at an attempt that has not begun
LEAVES_WITHIN_S = 10.0


class WarmProcess:
    """The worker's side: starts the process when there is none, and hands it jobs, with the variables of engines."""

    def __init__(self, home: Path, environment: Mapping[str, str], deadlines: Deadlines) -> None:
        self._home = home
        self._environment = environment
        self._deadlines = deadlines
        self._mutex = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Begin to import, so that the first job finds it done."""
        with self._mutex:
            self._ensure()

    def submit(self, job: Job, engine: str, attempt: Attempt, lock: int, watch: Watch) -> socket.socket:
        """Run a job in a fork; the returned connection carries its result and is at its end when the fork is gone.

        Raises Hung when the attempt is to end before it has begun.
        """
        order = {
            "job": job.model_dump(),
            "engine": engine,
            "environment": dict(self._environment),
            "folder": str(attempt.folder),
            "deadlines": self._deadlines.model_dump(),
        }
        line = json.dumps(order).encode() + b"\n"
        attempt.give_sign(STARTING)
        while not self._mutex.acquire(timeout=POLL):
            watch.look_before()
        mine, theirs = socket.socketpair()
        try:
            with theirs:
                for _ in range(2):  # a killed or frozen warm process is started anew
                    with contextlib.suppress(OSError):
                        if self._hand_over(line, [theirs.fileno(), lock], watch):
                            return mine
                    self._drop(frozen=True)
                    end_holders(attempt.lock_file)  # it may have forked before it was killed
        except BaseException:
            self._drop(frozen=True)  # what it has been told of may not begin any more
            mine.close()
            raise
        finally:
            self._mutex.release()
        mine.close()
        raise Unavailable("the process that runs deployments did not start", fault="host")

    def close(self) -> None:
        """Let the process go; running jobs go on."""
        with self._mutex:
            self._drop()

    def _hand_over(self, line: bytes, descriptors: list[int], watch: Watch) -> bool:
        """Whether the process has taken the job; OSError when it is gone or takes too long."""
        control = self._ensure()
        control.settimeout(self._deadlines.accept)
        socket.send_fds(control, [line[:1]], descriptors)
        control.sendall(line[1:])
        deadline = time.monotonic() + self._deadlines.accept
        while not select.select([control], [], [], POLL)[0]:
            watch.look_before()
            if time.monotonic() > deadline:
                return False
        return control.recv(1) != b""

    def _ensure(self) -> socket.socket:
        if self._control is None or self._process is None or self._process.poll() is not None:
            self._drop()
            mine, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "cellwave.deploy.forks", str(self._home)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            self._control = mine
        return self._control

    def _drop(self, *, frozen: bool = False) -> None:
        """Let the process go, by force if it is `frozen`, or does not leave."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0 if frozen else LEAVES_WITHIN_S)
            self._process.kill()
            self._process.wait()
            self._process = None
