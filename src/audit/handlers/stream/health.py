"""How a stream is, and what becomes of it when a destination answers. Pure.

`testing`: what shows that events arrive is not answered yet. `unverified`: it did not arrive, and nothing is sent until
somebody says so. `failing`: it is tried again. `dead`: it is not, until somebody says so. What a stream has not sent
stays in the tenant's log, so nothing of it is lost in any state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

DAY = 86400.0
DEAD_AFTER = 7 * DAY  # seconds of failing
REFUSED_FOR = 6 * 3600.0  # seconds of being told that it is of no use: what was renamed may come back
FIRST_WAIT = 15.0
LONGEST_WAIT = 3600.0
LONGEST_ASKED = 6 * 3600.0  # that a destination may have us wait
LONGEST_ERROR = 300  # characters

State = Literal["testing", "unverified", "active", "paused", "failing", "dead"]


@dataclass(frozen=True)
class Failure:
    """What went wrong; `final` when trying again is of no use, as far as the destination says, `wait` in seconds."""

    error: str
    final: bool = False
    wait: float = 0.0
    too_large: bool = False


@dataclass(frozen=True)
class Health:
    """What is known of a stream. Times are seconds since 1970; 0: it is not so."""

    verified: float = 0.0
    paused: float = 0.0
    failing: float = 0.0
    refused: float = 0.0
    failures: int = 0
    error: str = ""
    due: float = 0.0
    sent: float = 0.0
    reported: float = 0.0  # that it is dead

    def state(self, now: float) -> State:
        """How it is."""
        if self.paused:
            return "paused"
        if not self.verified:
            return "unverified" if self.error else "testing"
        if not self.failing:
            return "active"
        return "dead" if now >= self.dies else "failing"

    @property
    def dies(self) -> float:
        """When one that fails is dead, if nothing arrives before."""
        refused = self.refused + REFUSED_FOR if self.refused else math.inf
        return min(self.failing + DEAD_AFTER, refused)

    def is_due(self, now: float) -> bool:
        """Whether something is to be sent now, or its death to be told of."""
        state = self.state(now)
        if state == "dead":
            return not self.reported
        return state in ("testing", "active", "failing") and now >= self.due

    def well(self, now: float) -> Health:
        """Something arrived."""
        return Health(verified=self.verified or now, paused=self.paused, sent=now)

    def failed(self, failure: Failure, now: float, luck: float) -> Health:
        """Something did not: it is due again after a wait that doubles, `luck` (0 to 1) of its second half."""
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(self.failures, 20)) * (0.5 + luck / 2)
        return replace(
            self,
            failing=self.failing or now,
            refused=(self.refused or now) if failure.final else 0.0,
            failures=self.failures + 1,
            error=failure.error[:LONGEST_ERROR],
            due=now + max(wait, min(failure.wait, LONGEST_ASKED)),
        )

    def resumed(self) -> Health:
        """Somebody says that it is to go on: whether events arrive is to be seen anew."""
        return Health(sent=self.sent)
