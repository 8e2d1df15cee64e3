"""A cell's streams, as whoever runs it sees them: how each is, and no URL of it."""

from __future__ import annotations

from typing import Any

from audit.cells import InCell
from audit.handlers.log import reading
from audit.handlers.log.store import Store
from audit.handlers.stream import rows
from audit.handlers.stream.lag import behind

WORST_FIRST = ("dead", "failing", "unverified", "testing", "paused", "active")


def streams_in(at: InCell, now: float) -> list[dict[str, Any]]:
    """What is known of each stream but its destination's own words: those in trouble first, then by how far behind."""
    found = []
    s3, log = at.client("s3"), at.table("log")
    for one in rows.every(at.table("streams")):
        store = Store(one.application, one.tenant, s3, at.bucket("log"), log)
        entries, seconds = behind(one, store, reading.size_of(store), now)
        found.append(
            {
                "stream": one.id,
                "tenant": f"{one.application}/{one.tenant}",
                "kind": one.kind,
                "state": one.health.state(now),
                "behind": {"entries": entries, "seconds": int(seconds)},
                "failing": one.health.failing or None,
                "error": one.health.error,
            }
        )
    return sorted(found, key=lambda one: (WORST_FIRST.index(one["state"]), -one["behind"]["seconds"]))
