"""What an event did, by its tag `crud` or its name: it created, read, updated or deleted something."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MARKS = ("create", "read", "update", "delete")
_VERBS = {
    "create": "create add new insert register invite upload import copy clone duplicate provision",
    "read": "read get list view see search find query show open download export access fetch print preview",
    "update": "update change edit modify set put patch rename move replace reset enable disable activate deactivate "
    "grant assign unassign lock unlock approve reject restore rotate renew share unshare merge transfer archive",
    "delete": "delete remove destroy drop purge erase revoke cancel clear terminate deregister unregister",
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def _forms(verb: str) -> set[str]:
    """A verb, its past, its -ing form and its third person, as event names have them."""
    stem = verb[:-1] if verb.endswith("e") else verb
    doubled = stem + stem[-1]
    return {verb, f"{verb}s", *(f"{one}{end}" for one in (stem, doubled) for end in ("ed", "ing"))}


_BY_WORD = {
    **{form: mark for mark, verbs in _VERBS.items() for verb in verbs.split() for form in _forms(verb)},
    **{"found": "read", "seen": "read", "shown": "read", "got": "read"},
    **{"copied": "create", "queries": "read", "queried": "read", "modified": "update", "modifies": "update"},
}


def mark_of(event: Mapping[str, Any]) -> str | None:
    """One of MARKS; None when neither the tag nor the name says so.

    The tag `crud` may be written out or as its first letter. Of the words of a name, the first that is a known verb
    counts.
    """
    said = str((event.get("tags") or {}).get("crud", "")).lower()
    for mark in MARKS:
        if said in (mark, mark[0]):
            return mark
    words = (word.lower() for word in _WORD.findall(event["eventName"]))
    return next((_BY_WORD[word] for word in words if word in _BY_WORD), None)
