"""What is told of an attempt that an exception ended."""

from __future__ import annotations

from cellwave.deploy.attempt import Attempt
from cellwave.deploy.disk import trouble, unwritable
from cellwave.deploy.port import Result
from cellwave.errors import CellwaveError, Fault
from cellwave.faults import of_error
from cellwave.text import redact


class Refused(Exception):
    """The stack can't be mended without a person; the text says what to do."""


class Damaged(ValueError):
    """This host's copy of a release is not what was built."""

    fault: Fault = "host"


def broken(attempt: Attempt | None, error: Exception) -> Result:
    """The result of an attempt that an exception ended. One that nobody expected is kept in its folder, with all that
    says where it came from."""
    fault = of_error(error)
    if isinstance(error, CellwaveError | Refused | Damaged):
        return Result(outcome="failed", reason=redact(str(error)), fault=fault)
    if fault == "unknown" and attempt is not None:
        attempt.keep_traceback(error)
        # What copies whole folders tells of a full disk in words.
        fault = "disk" if unwritable([attempt.folder]) else fault
    said = f"{type(error).__name__}: {error}"
    words = {
        "disk": f"{trouble(error)}: {error}",
        "unknown": f"cellwave itself failed: {said}; see `cellwave logs`",
    }
    return Result(outcome="failed", reason=redact(words.get(fault, said)), fault=fault)
