"""Until when engines may run here: a worker that others may take for dead moves it on as long as it is heard.

The process that runs an engine reads it itself, so a frozen worker's engines end too. Times are seconds since boot, in
which a suspended machine's count.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

KILL_AFTER = 5.0  # seconds between the interrupt of an engine whose time is over, and its end by force
WIDTH = 20
PR_SET_PDEATHSIG = 1
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_libc = ctypes.CDLL(None, use_errno=True)


def since_boot() -> float:
    """Seconds since this machine has booted, those in which it slept as well."""
    return time.clock_gettime(CLOCK)


def write_deadline(file: Path, at: float) -> None:
    """Let engines run until then, in place: a full disk has room for that."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, f"{at:{WIDTH}.2f}".encode(), 0)
    finally:
        os.close(descriptor)


def is_over(file: str) -> bool:
    """Whether the time in a file has passed; "" is no file, and no bound. One that can't be read is over."""
    if not file:
        return False
    try:
        return since_boot() > float(Path(file).read_text())
    except (OSError, ValueError):
        return True


def end_with_parent() -> None:
    """Let this process be killed when the one that started it ends; called in the child before it becomes another."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
