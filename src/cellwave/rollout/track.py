"""How far one step of a plan has come, forward or back. Pure values."""

from __future__ import annotations

from typing import Literal

from cellwave.errors import Fault
from cellwave.frozen import Frozen
from cellwave.waves.model import Step

Phase = Literal["pending", "running", "proving", "converged", "failed"]
ACTIVE = ("running", "proving")


class Applied(Frozen):
    """What an engine did to a stack: its outputs afterwards, how many resources by operation, how many outputs it
    changed, in how many seconds, and `beyond` which inputs the program has read outputs of other stacks."""

    kind: Literal["applied"] = "applied"
    outputs: dict[str, str] = {}
    changes: dict[str, int] = {}
    changed_outputs: int = 0
    seconds: float = 0.0
    beyond: tuple[str, ...] = ()


class Foreseen(Frozen):
    """What a preview showed that a stack's update would do: how many resources by operation, which of them (URNs) it
    would replace or delete, and what speaks against it ("": nothing)."""

    changes: dict[str, int] = {}
    lost: tuple[str, ...] = ()
    problem: str = ""


class Track(Frozen):
    """How far one step has come. `at` (epoch seconds) is when it reached the phase; `applied` is what its engine did,
    `foreseen` what a preview before its wave showed (None: none did).

    `changed` says whether any attempt that is over may have changed the stack; `fault` is whose the failure of the last
    one is (None: it did not fail, or another has begun).
    """

    phase: Phase = "pending"
    attempt: int = 0
    at: float = 0.0
    reason: str = ""
    applied: Applied | None = None
    foreseen: Foreseen | None = None
    changed: bool = False
    fault: Fault | None = None

    @property
    def transient(self) -> bool:
        """Whether it failed for a reason that says nothing about the release, so that a person is asked."""
        return self.phase == "failed" and self.fault not in (None, "release")

    @property
    def active(self) -> bool:
        """Whether an engine, or the proof of what it did, is at work."""
        return self.phase in ACTIVE

    @property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs, as far as the engine told any."""
        return self.applied.outputs if self.applied else {}


def is_kept(step: Step, attempt: int) -> bool:
    """Whether an attempt is of no engine, and only a look at what runs already: the first at a step that is kept."""
    return bool(step.kept) and attempt == 1


FRESH = Track()
