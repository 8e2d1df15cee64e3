"""How far a stream is behind."""

from __future__ import annotations

from datetime import datetime

from audit.handlers.log import reading
from audit.handlers.log.store import Store
from audit.handlers.stream.rows import Stream


def behind(stream: Stream, store: Store, size: int, now: float) -> tuple[int, float]:
    """How far a stream is behind its log: entries, and seconds since the oldest of them was logged."""
    at = reading.logged_at(store, size, stream.position)
    if at is None:
        return 0, 0.0
    return size - stream.position, max(0.0, now - datetime.fromisoformat(at).timestamp())
