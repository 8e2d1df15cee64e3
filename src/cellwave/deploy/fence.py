"""Until when engines may run here: a worker that others may take for dead moves it on as long as it is heard.

The process that runs an engine reads it itself, so a frozen worker's engines end too; and a guard beside each engine
reads it, so those of a frozen or killed driver do. Times are seconds since boot, in which a suspended machine's count.
"""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

from cellwave.processes import Proc, stop

KILL_AFTER = 5.0  # seconds between the interrupt of an engine whose time is over, and its end by force
WIDTH = 20
POLL = 0.2  # seconds between two looks of a guard's
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


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


def is_over(file: str, since: float = 0.0) -> bool:
    """Whether the time in a file has passed, at least `since` seconds ago; "" is no file, and no bound. One that can't
    be read is over."""
    if not file:
        return False
    try:
        return since_boot() > float(Path(file).read_text()) + since
    except (OSError, ValueError):
        return True


def stand_guard(file: str, engine: Proc, gone: int) -> int:
    """Fork a process that ends an engine with all of its session, by force, when its driver has let the time for that
    pass; its pid. It leaves when nobody holds the other end of the pipe `gone` any more.

    The caller has one thread, and holds no end of the pipe but this.
    """
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()  # whoever stops or kills the driver's does not mean this one
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if gone:  # (an empty range would close more)
                os.closerange(0, gone)
            os.closerange(gone + 1, os.sysconf("SC_OPEN_MAX"))  # the attempt's lock is not its
            while not select.select([gone], [], [], POLL)[0]:
                if is_over(file, KILL_AFTER):
                    stop(engine, grace_s=0.0)
        finally:
            os._exit(0)
    return pid
