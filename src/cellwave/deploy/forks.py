"""The warm process: Pulumi's SDK is imported once, and every job runs in a fork of it.

It is started by a worker (warm.py) with one end of a socket pair as standard input, gets one job at a time as a line of
JSON together with two descriptors (the job's connection and the attempt's held lock), and answers each with a line. It
leaves when the other end is closed. The jobs' processes go on.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path

from cellwave.deploy.attempt import Attempt
from cellwave.deploy.broken import broken
from cellwave.deploy.deadlines import Deadlines
from cellwave.deploy.drive import Task, drive
from cellwave.deploy.port import Job, Result

# Imported before the first fork: what AWS programs use, and what takes long to import.
PRELOADED = (
    "pulumi", "pulumi_aws", "boto3", "pydantic", "ruamel.yaml", "grpc",
    "pulumi_aws.apigatewayv2", "pulumi_aws.cloudwatch", "pulumi_aws.dynamodb", "pulumi_aws.iam", "pulumi_aws.kms",
    "pulumi_aws.lambda_", "pulumi_aws.s3", "pulumi_aws.sqs", "pulumi_aws.ssm",
)  # fmt: skip
LINE = 1 << 20


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
