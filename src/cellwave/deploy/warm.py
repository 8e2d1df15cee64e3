"""The warm process: Pulumi's SDK is imported once, and every job runs in a fork of it.

It is started by a worker with one end of a socket pair as standard input, gets one job at a time as a line of JSON
together with two descriptors (the job's connection and the attempt's held lock), and answers each with a line. It
leaves when the other end is closed. The jobs' processes go on.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from cellwave.deploy.attempt import STARTING, Attempt
from cellwave.deploy.deadlines import Deadlines
from cellwave.deploy.drive import Task, broken, drive
from cellwave.deploy.port import Job, Result
from cellwave.deploy.watch import Watch
from cellwave.errors import Unavailable
from cellwave.processes import end_holders

# Imported before the first fork: what AWS programs use, and what takes long to import.
PRELOADED = (
    "pulumi", "pulumi_aws", "boto3", "pydantic", "ruamel.yaml", "grpc",
    "pulumi_aws.apigatewayv2", "pulumi_aws.cloudwatch", "pulumi_aws.dynamodb", "pulumi_aws.iam", "pulumi_aws.kms",
    "pulumi_aws.lambda_", "pulumi_aws.s3", "pulumi_aws.sqs", "pulumi_aws.ssm",
)  # fmt: skip
LINE = 1 << 20
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
                    [sys.executable, "-P", "-m", "cellwave.deploy.warm", str(self._home)],
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


def main() -> None:
    """Import, then fork a driver for each job until the worker is gone."""
    for name in PRELOADED:
        # Pulumi's packages load at the first use of an attribute.
        hasattr(import_module(name), "__all__")
    # Compiled programs are kept apart: a release's folder holds what was released and nothing else.
    sys.pycache_prefix, sys.dont_write_bytecode = str(Path(sys.argv[1], "pycache")), False
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=0)
    gc.collect()
    gc.freeze()  # keeps the collector from touching, and so copying, what the forks share
    while True:
        first, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not first:
            break
        line = first
        while not line.endswith(b"\n"):
            more = control.recv(LINE)
            if not more:
                return  # the worker was killed in the middle of a line
            line += more
        if os.fork() == 0:
            _be_driver(json.loads(line), control, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        control.sendall(b"+")


def _be_driver(order: dict[str, object], control: socket.socket, connection: int, lock: int) -> None:
    """Run the job of a forked driver; never returns."""
    try:
        control.close()
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        attempt = Attempt(Path(str(order["folder"])))
        result = _driven(order, attempt, lock)
        with contextlib.suppress(OSError):  # a full disk: the result still reaches whoever waits
            attempt.finish(result)
        with contextlib.suppress(OSError):
            os.write(connection, result.model_dump_json().encode())
    finally:
        os._exit(0)


def _driven(order: dict[str, object], attempt: Attempt, lock: int) -> Result:
    try:
        job = Job.model_validate(order["job"])
        environment = dict(order["environment"])  # type: ignore[call-overload]
        os.environ.clear()
        os.environ.update(environment)
        deadlines = Deadlines.model_validate(order["deadlines"])
        return drive(
            Task(job, str(order["engine"]), environment, attempt, lock, Path(sys.argv[1]), deadlines)
        )
    except Exception as error:  # noqa: BLE001 - its traceback is kept
        return broken(attempt, error)


if __name__ == "__main__":
    main()
