"""What a question may say, each with the words and the schema that the API's document has of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from audit.handlers.common.events import canonical_time
from audit.handlers.common.http import ApiError
from audit.handlers.common.operations import Parameter
from audit.handlers.query import matching

LONGEST = 512  # characters of a filter
_FILTER = {"type": "string", "minLength": 1, "maxLength": LONGEST}
_TIME = {"type": "string", "format": "date-time"}

FILTERS = (
    Parameter("eventName", "The action: the event's name, exactly.", _FILTER),
    Parameter("actorId", "The actor's id, exactly.", _FILTER),
    Parameter("resourceId", "The id of one of the resources, exactly.", _FILTER),
    Parameter(
        "serviceEvent",
        "`true`: what the service itself has written, of what was done to what is the tenant's; `false`: all else.",
        {"enum": ["true", "false"]},
    ),
    Parameter("tag", "A tag by its name (`env`) or with its value (`env:prod`), exactly.", _FILTER),
    Parameter(
        "sourceIp",
        f"Exactly a text, or {matching.AN_ADDRESS}, however the event writes its address.",
        _FILTER,
    ),
    Parameter(
        "text",
        f"1 to {matching.MOST_WORDS} words, separated by blanks: each is a part of one of the texts or numbers in "
        "eventDetails, context, or the details of actor and resources. Case, width and ligatures do not count "
        "(NFKC, full case folding); accents do.",
        _FILTER,
    ),
)
SPAN = (
    Parameter("from", "The earliest time, inclusive (RFC 3339).", _TIME),
    Parameter("to", "The latest time, exclusive (RFC 3339).", _TIME),
)
PAGE = (
    Parameter("limit", "Events an answer.", {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}),
    Parameter(
        "cursor", "Where the answer before ended; good for the same key and question.", {"type": "string"}
    ),
)
TENANT = (Parameter("tenantId", "The key's own tenant, and no other.", {"type": "string", "minLength": 1}),)
SHAPE = (
    Parameter(
        "format",
        "How events are written: as OCSF's API Activity (1.9.0), in the place of as they were accepted.",
        {"enum": ["ocsf"]},
    ),
)
_WITHOUT_BLANKS = ("tenantId", "from", "to")


def asked(parameters: Iterable[tuple[str, str]], known: Sequence[Parameter]) -> dict[str, str]:
    """What (name, value) pairs say, each once; raises ApiError 400 for what none of the known parameters can be."""
    names = [one.name for one in known]
    found: dict[str, str] = {}
    for name, value in parameters:
        # What signs a request's URL is not part of the question.
        if name.startswith("X-Amz-"):
            continue
        if name not in names:
            raise ApiError(400, "invalid_parameter", f"{name[:60]}: unknown; there are {', '.join(names)}")
        if name in found:
            raise ApiError(400, "invalid_parameter", f"{name}: given twice, expected once")
        if not value:
            raise ApiError(400, "invalid_parameter", f"{name}: is empty; leave it out, or give it a value")
        # A blank there is a plus that the client did not encode.
        found[name] = value.replace(" ", "+") if name in _WITHOUT_BLANKS else value
    return found


def time_of(name: str, text: str) -> str:
    """A time as sort keys have it; raises ApiError 400 when it is none."""
    try:
        return canonical_time(text)
    except ValueError as error:
        raise ApiError(400, "invalid_parameter", f"{name}: {error}") from None


def limit_of(text: str, most: int) -> int:
    """How many an answer may hold; raises ApiError 400 when that is no number from 1 to `most`."""
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text, re.ASCII) or int(text) > most:
        raise ApiError(400, "invalid_parameter", f"limit: found {text[:60]}, expected 1 to {most}")
    return int(text)


def is_ocsf(given: Mapping[str, str]) -> bool:
    """Whether events are asked for in that shape; raises ApiError 400 for one that there is not."""
    if given.get("format") not in (None, "ocsf"):
        raise ApiError(400, "invalid_parameter", f"format: found {given['format'][:60]}, expected ocsf")
    return "format" in given
