"""What a question may say, each with the words and the schema that the API's document has of it."""

from __future__ import annotations

from audit.handlers.common.operations import Parameter
from audit.handlers.query import matching

LONGEST = 512  # characters of a filter
_FILTER = {"type": "string", "minLength": 1, "maxLength": LONGEST}
_TIME = {"type": "string", "format": "date-time"}

FILTERS = (
    Parameter("eventName", "The action: the event's name, exactly.", _FILTER),
    Parameter("actorId", "The actor's id, exactly.", _FILTER),
    Parameter("resourceId", "The id of one of the resources, exactly.", _FILTER),
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
