"""Where the lines of an object go: to the archive, then to the index; to wait; or among what was rejected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from audit.handlers.common.guests import mark_guests
from audit.handlers.common.index import insert, item
from audit.handlers.ingest.acceptance import known_then, registration
from audit.handlers.ingest.archive import archive
from audit.handlers.ingest.landed import Landed
from audit.handlers.ingest.lines import Content, Event, sort
from audit.handlers.ingest.objects import at_once, keep

# Folders of the archive and of the landing bucket that are no application's: an id begins with a letter or digit.
REJECTED, WAITING = "_rejected", "_waiting"
SOURCE = "source"  # metadata of what waits: the object that it came in, in ASCII


def take(landed: Landed) -> Content:
    """Keep all that an object holds; what that is. A second time changes nothing.

    Raises when any of it could not be kept, ValueError for a post that is found wrong.
    """
    known = known_then(landed.metadata).applications.get(landed.application)
    content = sort(landed, registration(landed.application, landed.metadata), known)
    if landed.post and content.rejected:
        # Another release would not think so: it stays in the queue until one comes.
        raise ValueError(f"{landed.key}: accepted, and now it is found that {content.rejected[0]['reason']}")
    said = at_once(lambda found: _archive(landed, *found), content.tenants.items())
    at_once(lambda found: _wait(landed, *found), content.waiting.items())
    if content.rejected and not landed.told:
        keep("ARCHIVE_BUCKET", f"{REJECTED}/{landed.application}/{landed.place}", content.rejected)
    index(landed.application, [*zip(content.tenants.values(), said, strict=True)])
    return content


def index(application: str, archived: Sequence[tuple[Sequence[Event], Mapping[str, int]]]) -> None:
    """Index an application's events, those of an archived object each, with what is said of its end; and before that
    who of its tenants is a guest in this cell."""
    mark_guests(application, {event["tenantId"] for events, _ in archived for _, event in events})
    insert(
        {**item(application, identity, event), **said}
        for events, said in archived
        for identity, event in events
    )


def _archive(landed: Landed, tenant: str, events: Sequence[Event]) -> Mapping[str, int]:
    return archive(landed.application, tenant, _place(landed, tenant, events), _lines(events))


def _wait(landed: Landed, tenant: str, events: Sequence[Event]) -> None:
    """Under the name that they are to have in the archive, and as they are to stand there."""
    source = {"Metadata": {SOURCE: quote(landed.key)[:1000]}}
    keep("LANDING_BUCKET", f"{WAITING}/{_place(landed, tenant, events)}", _lines(events), source)


def _place(landed: Landed, tenant: str, events: Sequence[Event]) -> str:
    return f"{landed.application}/{tenant}/{landed.folder(identity for identity, _ in events)}"


def _lines(events: Sequence[Event]) -> list[object]:
    return [{"eventId": identity, **event} for identity, event in events]
