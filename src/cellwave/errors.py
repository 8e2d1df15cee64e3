"""One error tree, caught once, at the edge of the command line."""

from __future__ import annotations

from typing import Literal

# "release": what it asks for is refused, or its program fails. The next ones are its surroundings': "credential" (of
# AWS, of the state backend, of a package index, a passphrase, a right that a role lacks), "throttle", "quota" (of an
# account), "disk" (full, or read-only), "lock" (another is at it), "network" (nobody there, no answer, or one that says
# that they are in trouble themselves), "host" (this machine: memory, files, clock, a tool). "unknown": nobody can tell.
Fault = Literal["release", "credential", "throttle", "quota", "disk", "lock", "network", "host", "unknown"]


class CellwaveError(Exception):
    """Something a person must know of; its text says what happened and what would help.

    `exit_code` is what the command line returns: 1 failed, 2 bad input, 3 rolled back, 4 waiting for a person, 130
    detached by Ctrl-C.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadInput(CellwaveError):
    """What a person wrote can't be used: `where` (file:line or key), what was found, what would be right."""

    exit_code = 2

    def __init__(self, where: str, found: str, expected: str) -> None:
        super().__init__(f"{where}: {found}", hint=expected)
        self.where = where
        self.found = found
        self.expected = expected


class Unavailable(CellwaveError):
    """Something needed is not there (no engine, an unreachable state backend, a full disk): nothing was changed.

    `fault` is the kind of that, where it is known; else what it was caused by may tell (faults.of_error)."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", fault: Fault = "unknown") -> None:
        super().__init__(message, hint=hint)
        self.fault = fault


class Leased(CellwaveError):
    """Another owner (a rollout, a running engine) holds what this wants to change."""

    exit_code = 2


class Detached(CellwaveError):
    """Ctrl-C while a rollout, which it names, goes on."""

    exit_code = 130  # as a shell says of a command that Ctrl-C ended: how the rollout ends is not known yet

    def __init__(self, rollout: str) -> None:
        back, undo = f"cellwave rollout watch {rollout}", f"cellwave rollout rollback {rollout}"
        super().__init__(
            f"detached; {rollout} goes on", hint=f"Come back with: {back}; take it back with: {undo}"
        )
        self.rollout = rollout
