"""One event, whole: what it says of itself, and everything in it as a tree of texts."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from boto3.dynamodb.conditions import Key

from audit.handlers.common.aws import setting, table
from audit.handlers.common.directory import directory
from audit.handlers.common.events import canonical_time
from audit.handlers.common.exact import Number, write
from audit.handlers.common.http import ApiError
from audit.handlers.common.index import end_of_item, event_of, partition
from audit.handlers.common.retention import readable
from audit.handlers.query.viewer.events import badge
from audit.handlers.query.viewer.fields import LABELS
from audit.handlers.query.viewer.html import Html, shown, tag, together
from audit.handlers.query.viewer.shell import Page, View, moment

clock = time.time
_PLACE = re.compile(r"([0-9T:.Z-]{27})~([0-9A-Za-z-]{1,64})")


def draw_event(view: View) -> Page:
    """GET /v1/viewer/{link}/events/{event}; raises ApiError 404."""
    event = _found(view, view.request.path.rpartition("/")[2])
    back = {name: value for name, value in view.asked.items() if name in LABELS}
    return Page(
        "events",
        "One event",
        together(
            [
                tag("p", tag("a", "Back to events", href=view.to("events", **back)), class_="back"),
                tag("dl", *_about(view, event), class_="about"),
                tag("h2", "All of it"),
                _tree(event),
                tag(
                    "details",
                    tag("summary", "As JSON, in ASCII"),
                    tag("pre", write(event), tabindex="0", role="region", aria_label="JSON"),
                    class_="json",
                ),
            ]
        ),
        heading=shown(event["eventName"]),
    )


def _found(view: View, place: str) -> dict[str, Any]:
    asked = _PLACE.fullmatch(place)
    items: Any = ()
    if asked:
        where = Key("pk").eq(partition(view.link.application, view.link.tenant))
        answered = table(setting("INDEX_TABLE")).query(
            KeyConditionExpression=where & Key("sk").eq(f"{asked[1]}#{asked[2]}"), Limit=1
        )
        held, now = directory().terms(view.link.application, view.link.tenant).held, clock()
        items = [
            item
            for item in answered["Items"]
            if item["eventId"] == asked[2] and readable(end_of_item(item), now, held)
        ]
    if not items:
        raise ApiError(404, "not_found", "there is no such event, or it is kept no longer")
    return event_of(items[0])


def _about(view: View, event: Mapping[str, Any]) -> list[Html]:
    """What is looked for most, each with the way to the other events that have it."""
    actor, context = event.get("actor") or {}, event.get("context") or {}
    told: list[tuple[str, str, str | None]] = [("Event", "eventName", event["eventName"])]
    told.append(("Actor", "actorId", actor.get("id")))
    told += [("Resource", "resourceId", resource["id"]) for resource in event.get("resources") or ()]
    told.append(("Source address", "sourceIp", context.get("sourceIpAddress")))
    found = [_pair("Time", moment(canonical_time(event["eventTime"])))]
    found += [_pair(label, _alike(view, name, text)) for label, name, text in told if text]
    if mark := badge(event):
        found.insert(1, _pair("What it did", mark))
    return [*found, _pair("Id", tag("code", event["eventId"]))]


def _alike(view: View, name: str, text: str) -> Html:
    return tag("a", shown(text), href=view.to("events", **{name: text}), title="All events that have it")


def _pair(label: str, value: Html) -> Html:
    return tag("div", tag("dt", label), tag("dd", value))


def _tree(value: Any) -> Html:
    """Whatever JSON holds: objects and lists to be folded, everything else as text."""
    if isinstance(value, dict) and value:
        return tag("dl", *(_branch(str(name), inner) for name, inner in value.items()), class_="tree")
    if isinstance(value, list) and value:
        return tag("ol", *(tag("li", _tree(inner)) for inner in value), class_="tree", start="0")
    if isinstance(value, str):
        return tag("span", shown(value), class_="text") if value else tag("span", "empty text", class_="none")
    if isinstance(value, Number):
        return tag("span", value.digits, class_="value")
    return tag("span", write(value), class_="value")


def _branch(name: str, value: Any) -> Html:
    if not value or not isinstance(value, dict | list):
        return tag("div", tag("dt", shown(name)), tag("dd", _tree(value)))
    many = f"{len(value)} {'field' if isinstance(value, dict) else 'item'}{'' if len(value) == 1 else 's'}"
    return tag(
        "div",
        tag("dt", shown(name)),
        tag("dd", tag("details", tag("summary", many), _tree(value), open=True)),
    )
