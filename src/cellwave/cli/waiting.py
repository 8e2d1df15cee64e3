"""What a rollout waits for, and what a person can do about it, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cellwave.cli.show import when
from cellwave.rollout.model import Action
from cellwave.usecases.views import RolloutSummary

WHAT_FOR: dict[Action, str] = {
    "approve": "go on",
    "resume": "try again",
    "rollback": "undo everything it touched",
}
ANSWERING = ("approve", "resume")  # these name the question; a rollback answers every one


def what_next(found: RolloutSummary, now: float) -> list[str]:
    """What is waited for, since when, and the commands that answer it, a line each; `now` is epoch seconds."""
    lines = []
    if found.trouble:
        lines.append(f"it can't go on: {found.trouble}")
        if not found.waiting:
            lines += _aligned(found, ["rollback"])
    if found.waiting:
        since = f"since {when(found.waiting.since)} ({_long(now - found.waiting.since)})"
        lines.append(f"it waits for a person {since}, in wave {found.waiting.wave}: {found.waiting.what}")
        lines += _aligned(found, found.waiting.answers)
    elif found.status == "paused":
        lines.append(f"paused by {found.paused}; go on with: {_command(found, 'resume')}")
    return lines


def waiting_json(found: RolloutSummary) -> dict[str, Any] | None:
    """What is waited for, for scripts: kind, wave, since (epoch seconds), what, question, and a command an answer."""
    if found.waiting is None:
        return None
    commands = {action: _command(found, action) for action in found.waiting.answers}
    return {**found.waiting.model_dump(exclude={"answers"}), "answers": commands}


def _command(found: RolloutSummary, action: Action) -> str:
    question = f" --question {found.waiting.question}" if found.waiting and action in ANSWERING else ""
    return f"cellwave rollout {action} {found.id}{question}"


def _aligned(found: RolloutSummary, actions: Iterable[Action]) -> list[str]:
    commands = {action: _command(found, action) for action in actions}
    width = max(map(len, commands.values()))
    return [f"  {command:<{width}}   {WHAT_FOR[action]}" for action, command in commands.items()]


def _long(seconds: float) -> str:
    """How long that is, in the largest unit of which there is one."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
