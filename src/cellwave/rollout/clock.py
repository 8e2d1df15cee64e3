"""The clock that events are told by: the machine's, but for small steps.

What a bake has watched is counted between two events. A clock that is stepped back and forth would count too much: each
step on adds, and none back takes away.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from cellwave.deploy.fence import since_boot

STEP_SECONDS = 5.0  # further off, the clock was set, and is followed


@dataclass
class Clock:
    """A worker's clock: it goes on with the seconds since boot."""

    _booted: float = field(default_factory=lambda: time.time() - since_boot())

    def now(self) -> float:
        """Seconds since the epoch, at most STEP_SECONDS from what the machine's clock says."""
        booted = time.time() - since_boot()
        if abs(booted - self._booted) > STEP_SECONDS:
            self._booted = booted
        return self._booted + since_boot()


CLOCK = Clock()  # of this process: turns and effects are to agree
