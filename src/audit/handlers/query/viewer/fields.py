"""The filters as a form has them: those of the search, under the names that people read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from audit.handlers.common.http import ApiError
from audit.handlers.query.viewer.html import Html, alert, tag

# In the order in which they stand; all of `parameters.FILTERS` and `SPAN`.
LABELS = {
    "text": ("Words", "in details and context"),
    "eventName": ("Event", "its whole name"),
    "actorId": ("Actor", "the whole id"),
    "resourceId": ("Resource", "the whole id"),
    "tag": ("Tag", "env, or env:prod"),
    "sourceIp": ("Source address", "or network"),
    "from": ("From", "UTC"),
    "to": ("Before", "UTC"),
    "serviceEvent": ("Written by", ""),
}
_WRITERS = {"": "Anyone", "false": "The application", "true": "The service itself"}
_TIMES = ("from", "to")
_LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?", re.ASCII)
_IN_UTC = re.compile(rf"({_LOCAL.pattern})Z", re.ASCII | re.IGNORECASE)


def meant(asked: Mapping[str, str]) -> dict[str, str]:
    """What is asked, as the search has it: a form's times have no zone, and are UTC."""
    return {
        name: f"{value}{':00' if len(value) == 16 else ''}Z"
        if name in _TIMES and _LOCAL.fullmatch(value)
        else value
        for name, value in asked.items()
    }


def pointing(error: ApiError) -> Html:
    """A refusal as the form's reader has it: it leads to the field that it is of."""
    name, colon, why = error.message.partition(":")
    if name not in LABELS or not colon:
        return alert(error.message)
    return alert(tag("a", LABELS[name][0], href=f"#f-{name}"), f":{why}")


def filters(asked: Mapping[str, str]) -> Iterable[Html]:
    """A labelled field for each filter, which holds what was asked."""
    for name, (label, hint) in LABELS.items():
        value = asked.get(name, "")
        if name == "serviceEvent":
            yield choice(name, label, _WRITERS, value)
            continue
        kind = {"text": "search", "from": "datetime-local", "to": "datetime-local"}.get(name, "text")
        if kind == "datetime-local":
            utc = _IN_UTC.fullmatch(value)
            value = utc[1] if utc else value
            # What the field can't hold is still asked for.
            kind = kind if not value or _LOCAL.fullmatch(value) else "text"
        yield tag(
            "div",
            tag(
                "label",
                label,
                tag("span", f" {hint}", class_="hint zone" if hint == "UTC" else "hint"),
                for_=f"f-{name}",
            ),
            tag(
                "input",
                id=f"f-{name}",
                name=name,
                type=kind,
                value=value,
                maxlength=None if kind == "datetime-local" else 512,
                step=_step(value) if kind == "datetime-local" else None,
                autocomplete="off",
                spellcheck="false",
            ),
            class_=f"field {name}",
        )


def choice(name: str, label: str, values: Mapping[str, str], chosen: str) -> Html:
    """A labelled choice of one of some values, each with the words for it."""
    options = [tag("option", words, value=value, selected=value == chosen) for value, words in values.items()]
    return tag(
        "div",
        tag("label", label, for_=f"f-{name}"),
        tag("select", *options, id=f"f-{name}", name=name),
        class_=f"field {name}",
    )


def _step(value: str) -> str | None:
    """As fine as the time that is asked: minutes, unless it has seconds."""
    return "any" if "." in value else "1" if value.count(":") > 1 else None
