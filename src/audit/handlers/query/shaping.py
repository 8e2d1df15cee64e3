"""A tenant's events in the shape that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from audit.handlers.common.directory import Caller
from audit.handlers.log.attested import activities


def shaped(caller: Caller, events: Iterable[dict[str, Any]], ocsf: bool) -> Iterable[dict[str, Any]]:
    """A caller's own stored events as they are, or in OCSF's shape."""
    return activities(caller.application, caller.tenant or "", [*events]) if ocsf else events
