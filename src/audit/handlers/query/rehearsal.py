"""What a tenant asks on any day, rehearsed."""

from __future__ import annotations

import json

from audit.handlers.common.index import item
from audit.handlers.common.rehearsal import APPLICATION, TENANT, Handler, Stage, insist

EVENTS = 5
ROUTE, EXPORTS = "GET /v1/events", "POST /v1/exports"


def play(handler: Handler, stage: Stage) -> None:
    """Every filter is answered, and the pages of a search hold each event once, in order."""
    stage.items = [
        item(
            APPLICATION,
            f"id-{second}",
            {
                "tenantId": TENANT,
                "eventTime": f"2025-01-01T00:00:0{second}Z",
                "eventName": "login",
                "eventDetails": {"reason": f"Grund{second}"},
                "context": {"sourceIpAddress": f"192.0.2.{second}"},
                "tags": {"number": str(second)},
            },
        )
        for second in range(EVENTS)
    ]
    for query in (
        {"tenantId": TENANT},
        {"eventName": "login"},
        {"actorId": "someone"},
        {"resourceId": "something"},
        {"from_": "2025-01-01T00:00:00Z", "to": "2026-01-01T01:00:00.5+01:00"},
        {"limit": 100, "eventName": "login", "actorId": "someone", "resourceId": "something"},
    ):
        stage.ask(handler, ROUTE, stage.tenant, **query)
    for query in ({"text": "grund3"}, {"tag": "number:3"}, {"sourceIp": "192.0.2.3/32"}):
        answer = stage.ask(handler, ROUTE, stage.tenant, **query)
        insist([event["eventId"] for event in answer["events"]] == ["id-3"], f"{query} finds {answer}")
    _play_exports(handler, stage)
    _play_viewer(handler, stage)
    feed = stage.ask(handler, "GET /v1/feed", stage.tenant)
    insist((feed["events"], feed["behind"]) == ([], 0), f"a feed without a log is answered {feed}")
    found: list[str] = []
    answer = stage.ask(handler, ROUTE, stage.tenant, limit=2)
    while answer["cursor"] and len(found) < EVENTS:
        found += [event["eventId"] for event in answer["events"]]
        answer = stage.ask(handler, ROUTE, stage.tenant, limit=2, cursor=answer["cursor"])
    found += [event["eventId"] for event in answer["events"]]
    insist(found == [f"id-{second}" for second in reversed(range(EVENTS))], f"the pages hold {found}")


def _play_viewer(handler: Handler, stage: Stage) -> None:
    """A link is made, and opens the list of events and one of them."""
    asked = {"tenantId": TENANT, "can": ["export"]}
    made = stage.ask(handler, "POST /v1/viewer-links", stage.application, asked, {"host": "viewer.example"})
    place = made["url"].removeprefix("https://viewer.example")
    listed = stage.ask(handler, f"GET {place}", "", eventName="login")
    insist("192.0.2.3" in listed, f"the viewer's list is {listed}")
    event = stage.ask(handler, f"GET {place}/2025-01-01T00:00:04.000000Z~id-4", "")
    insist("Grund4" in event, f"the viewer's event is {event}")


def _play_exports(handler: Handler, stage: Stage) -> None:
    """An export is begun, handed to the worker, told of, and fetched by a URL once it is ready."""
    begun = stage.ask(handler, EXPORTS, stage.tenant, {"format": "csv.gz", "text": "grund3"})
    insist(
        [json.loads(body)["sk"] for body in stage.messages] == [begun["id"]], "no worker is told of an export"
    )
    stage.rows[-1]["state"] = "ready"
    found = stage.ask(handler, f"GET /v1/exports/{begun['id']}", stage.tenant)
    insist(begun["id"] in found["url"], f"a ready export is answered {found}")
    listed = stage.ask(handler, "GET /v1/exports", stage.tenant)["exports"]
    insist([one["id"] for one in listed] == [begun["id"]], f"the exports are {listed}")
