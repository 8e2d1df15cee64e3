"""What a command that Ctrl-C ended says. It needs nothing else: the others may not be loaded yet."""

from __future__ import annotations

import sys


def interrupted(arguments: list[str]) -> int:
    """Say that Ctrl-C ended a command that follows no rollout; its exit code, which never is that of a detached one."""
    up = arguments[:1] == ["up"]
    starts = up or (arguments[:1] == ["rollout"] and arguments[1:2] in (["start"], ["resume"], ["rollback"]))
    asked = "; see `cellwave rollout status` for what was asked of a running one"
    nothing = f"nothing was started{'' if up or arguments[1:2] == ['start'] else asked}"
    print("\ninterrupted" + (f": {nothing}" if starts else ""), file=sys.stderr)
    return 1 if starts else 130
