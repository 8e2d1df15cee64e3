"""As many events as an answer holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from audit.handlers.common.exact import write

Event = Mapping[str, Any]

# A function's answer may be 6 MB; the rest is for what surrounds the events.
ANSWER_BYTES = 6_000_000


def fitting(events: Iterable[Event]) -> list[Event]:
    """The first events, as many as an answer holds: at least one, since an event is small enough."""
    found: list[Event] = []
    left = ANSWER_BYTES
    for event in events:
        # The body is JSON within the JSON that the function returns: every quote and backslash counts twice.
        left -= len(json.dumps(write(event))) + 2
        if found and left < 0:
            break
        found.append(event)
    return found
