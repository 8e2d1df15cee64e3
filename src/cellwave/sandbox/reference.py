"""How slow the emulator itself is: a function of the sandbox's own is called all the time, and its answer time told.

It runs in the emulator's process and shares its fate, but none of a release's code. What it does is what any handler
does: it starts (every COLD_EVERY-th time a fresh process, as new code does) and asks AWS a few things. Metrics
`Latency` (milliseconds) and `Failed` (0 or 1 a sample) of namespace Cellwave/Sandbox, without dimensions, in every
account and region that has an alarm. It rests where nothing was called for RESTS_AFTER_S.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.config import Config
from ministack.core import lambda_runtime  # type: ignore[import-untyped]
from ministack.core.responses import request_scope  # type: ignore[import-untyped]
from ministack.services import cloudwatch  # type: ignore[import-untyped]

ACCOUNT, REGION, NAME = "000000000000", "us-east-1", "cellwave-reference"
NAMESPACE = "Cellwave/Sandbox"
EVERY_S = 0.5
COLD_EVERY = 10
RESTS_AFTER_S = 120.0
CALLS = 3
HANDLER = f"""
import boto3
client = boto3.client("sts")
def handler(event, context):
    for _ in range({CALLS}):
        client.get_caller_identity()
"""


class Reference:
    """Asks and publishes, from a thread of its own. `touch` says that something was called."""

    def __init__(self) -> None:
        self._touched = -RESTS_AFTER_S
        self._alarms = 0

    def start(self) -> None:
        """Begin; it ends with the process."""
        threading.Thread(target=self._run, daemon=True).start()

    def touch(self, function: str) -> None:
        """A function was called: somebody may ask how slow the emulator is."""
        if function != NAME:
            self._touched = time.monotonic()

    def _run(self) -> None:
        client: Any = None
        turn = 0
        while True:
            time.sleep(EVERY_S)
            if not self._wanted():
                continue
            try:
                client = client or _deployed()
            except Exception:  # noqa: BLE001 - the emulator is not up yet
                continue
            turn += 1
            if turn % COLD_EVERY == 0:
                lambda_runtime.invalidate_worker(NAME, account=ACCOUNT, region=REGION)
            publish(*ask(client))

    def _wanted(self) -> bool:
        alarms = len(cloudwatch._alarms._data)
        if alarms != self._alarms:  # something is being deployed
            self._alarms, self._touched = alarms, time.monotonic()
        return time.monotonic() - self._touched < RESTS_AFTER_S


def ask(client: Any) -> tuple[float, bool]:
    """Call the function once: milliseconds, and whether it failed."""
    began = time.perf_counter()
    try:
        failed = "FunctionError" in client.invoke(FunctionName=NAME)
    except Exception:  # noqa: BLE001 - whatever it is, it is what a customer would meet
        failed = True
    return (time.perf_counter() - began) * 1000, failed


def publish(milliseconds: float, failed: bool) -> None:
    """Publish one answer in every account and region with an alarm."""
    for account, region in {key[:2] for key in list(cloudwatch._alarms._data)}:
        with request_scope(account, region):
            cloudwatch.record_metric(NAMESPACE, "Failed", float(failed), "Count")
            for value in corrected(milliseconds):
                cloudwatch.record_metric(NAMESPACE, "Latency", value, "Milliseconds")


def corrected(milliseconds: float) -> Iterator[float]:
    """The answer time, and those that would have been met by asking on time while this answer was awaited.

    Without them a slow minute would count less than a quick one ("coordinated omission", corrected as HdrHistogram's
    recordValueWithExpectedInterval does).
    """
    while milliseconds > 0:
        yield milliseconds
        milliseconds -= EVERY_S * 1000


def _deployed() -> Any:
    """A client of the function, made when it is not there."""
    session = boto3.Session(ACCOUNT, os.environ["AWS_SECRET_ACCESS_KEY"], region_name=REGION)
    client = session.client(
        "lambda",
        endpoint_url=f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
        config=Config(connect_timeout=5, read_timeout=35, retries={"max_attempts": 0}),
    )
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("reference.py", HANDLER)
    with contextlib.suppress(client.exceptions.ResourceConflictException):  # from an earlier run
        client.create_function(
            FunctionName=NAME,
            Runtime="python3.12",
            Role=f"arn:aws:iam::{ACCOUNT}:role/any",
            Handler="reference.handler",
            Code={"ZipFile": code.getvalue()},
            Timeout=30,
        )
    return client
