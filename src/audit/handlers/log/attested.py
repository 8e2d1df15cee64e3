"""A tenant's events in OCSF's shape, each with what the tenant's log has of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audit.handlers.common.aws import setting
from audit.handlers.common.ocsf import Logged, activity
from audit.handlers.log.append import CHECKPOINT, checkpoint_in
from audit.handlers.log.keys import key_of
from audit.handlers.log.store import COSIGNED, Store, origin_of


def activities(application: str, tenant: str, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Stored events as OCSF's API Activity: those that have an entry in the log's checkpoint are attested by it."""
    logged = _logged(application, tenant, events)
    return [activity(application, event, logged.get(event["eventId"])) for event in events]


def _logged(application: str, tenant: str, events: Sequence[Mapping[str, Any]]) -> dict[str, Logged]:
    """By event; of those in a checkpoint that witnesses have signed by that, of the newer ones by the newest."""
    store = Store.here(application, tenant)
    found = [store.read(one) for one in (COSIGNED, CHECKPOINT)] if events else []
    notes = [(checkpoint_in(note.decode()).size, note.decode()) for note in found if note]
    if not notes:
        return {}
    key = str(key_of(origin_of(setting("LOG_ORIGIN"), application, tenant)))
    logged = {}
    for place in store.places(str(event["eventId"]) for event in events).values():
        note = next((note for size, note in notes if place.index < size), None)
        if note:
            logged[place.event] = Logged(place.index, place.salt, key, note)
    return logged
