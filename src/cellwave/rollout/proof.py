"""The proof that a deployment converged: look from outside until the expected digest is seen, or it takes too long."""

from __future__ import annotations

from collections.abc import Callable

from cellwave.errors import Fault
from cellwave.frozen import Frozen
from cellwave.health.model import Unreadable

SECONDS = 45.0
LOOKS = 15  # a slow machine gets as many looks as a quick one gets seconds for,
LONGEST_SECONDS = 300.0  # within reason
PAUSE_SECONDS = 0.1


class Unproven(Frozen):
    """Why there is no proof, and whose fault that is."""

    reason: str
    fault: Fault


def prove(
    expected: str,
    look: Callable[[], str | Unreadable],
    *,
    aborted: Callable[[], bool],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Unproven | None:
    """None once a look sees the expected digest; `clock` counts seconds.

    A look is given up after SECONDS and LOOKS, or after LONGEST_SECONDS however few they were. Then the last look
    decides: a deployment that could not even be asked is nothing to blame a release for, but one that gives no answer,
    or a wrong one, is what a broken release looks like.
    """
    began, looks, silent = clock(), 0, True
    while (seen := look()) != expected:
        looks += 1
        silent = silent and isinstance(seen, Unreadable) and seen.cause == "silence"
        waited = clock() - began
        if waited > (SECONDS if looks >= LOOKS else LONGEST_SECONDS) or aborted():
            return _unproven(expected, seen, waited, silent)
        sleep(PAUSE_SECONDS)
    return None


def _unproven(expected: str, seen: str | Unreadable, waited: float, silent: bool) -> Unproven:
    if isinstance(seen, Unreadable) and seen.cause == "way":
        why = f"what it runs could not be asked for in {waited:.0f} s, which says nothing of the release: {seen.reason}"
        return Unproven(reason=why, fault=seen.fault or "network")
    saw = seen.reason if isinstance(seen, Unreadable) else f"it runs {seen[:12]}"
    doubt = (
        "; nothing ever answered: it does not listen, or can't be reached from this machine" if silent else ""
    )
    reason = f"did not converge in {waited:.0f} s: expected {expected[:12]}, {saw}{doubt}"
    return Unproven(reason=reason, fault="release")
