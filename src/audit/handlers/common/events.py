"""What an audit event is, and what is wrong with one that is not."""

from __future__ import annotations

import json
import re
from calendar import monthrange, timegm
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from audit.handlers.common.exact import write

MAX_EVENTS = 1000  # a post or an uploaded object
MAX_UPLOAD_BYTES = 10 * 1024 * 1024  # an uploaded object, and what it is unpacked
MAX_EVENT_BYTES = 32 * 1024  # as ASCII JSON; in an answer it is twice that at most

AN_APPLICATION = "1 to 64 of A-Z a-z 0-9 . _ -, a letter or digit first"
A_TENANT = "1 to 128 of A-Z a-z 0-9 _ - + ="

_APPLICATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# What could be registered by the rule of applications, once, writes and reads on.
_TENANT = re.compile(rf"[A-Za-z0-9_+=-]{{1,128}}|{_APPLICATION.pattern}")
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)T((?:[01]\d|2[0-3]):[0-5]\d):(\d\d)(?:\.(\d+))?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII | re.IGNORECASE,
)
_A_TIME = "an RFC 3339 time such as 2025-01-31T12:00:00Z"
_EMPTY: tuple[object, ...] = (None, "", {}, [])


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an event: where, what was found and what would be right."""

    field: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.field}: found {self.found}, expected {self.expected}"

    def at(self, index: int) -> dict[str, object]:
        """The problem as JSON, for the event of that index."""
        return {"index": index, **asdict(self)}


Check = Callable[[str, object], Iterator[Problem]]


def is_application(text: object) -> bool:
    """Whether a value can be an application's id: safe in a key, a path and a credential.

    Never `..`, and never a name that begins as those of the archive's own folders do.
    """
    return isinstance(text, str) and _APPLICATION.fullmatch(text) is not None


def is_tenant(text: object) -> bool:
    """Whether a value can be a tenant's id: safe behind an application's in a key, a path and a credential.

    Never `..`, and without a slash, comma, blank or `#`. In a URL's query, `+` is to be written `%2B`.
    """
    return isinstance(text, str) and _TENANT.fullmatch(text) is not None


def canonical_time(text: str) -> str:
    """An RFC 3339 time as UTC with microseconds (finer digits are cut), so that text order is time order.

    A leap second stays the 60th of its minute. Raises ValueError when it is no such time.
    """
    found = _RFC3339.fullmatch(text)
    if not found:
        raise ValueError(f"{text[:80]!r} is not {_A_TIME}")
    day, minute, second, fraction, zone = found.groups(default="")
    leap = second == "60"
    try:
        # Zones are of whole minutes, so seconds are the same in each.
        written = f"{day}T{minute}:{'59' if leap else second}{zone.upper()}"
        moment = datetime.fromisoformat(written).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None
    last = (monthrange(moment.year, moment.month)[1], 23, 59)
    if leap and (moment.day, moment.hour, moment.minute) != last:
        raise ValueError(f"{text[:80]!r}: a leap second is the last of a month in UTC")
    return f"{moment.isoformat()[:16]}:{second}.{fraction[:6]:0<6}Z"


def microseconds(text: str) -> int:
    """An RFC 3339 time as microseconds since 1970, by which a leap second is the one behind it; ValueError likewise."""
    written = canonical_time(text)
    fields = [int(part) for part in re.split(r"\D", written[:19])]
    return timegm((*fields, 0, 0, 0)) * 1_000_000 + int(written[20:26])


def problems(event: object) -> list[Problem]:
    """Everything wrong with a parsed JSON value as an event; empty when it is one."""
    found = list(_EVENT("", event))
    if found:
        return found
    try:
        json.dumps(event, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return [Problem("(event)", "half of a surrogate pair", "text that is Unicode")]
    size = len(write(event))
    if size > MAX_EVENT_BYTES:
        return [Problem("(event)", f"{size} bytes", f"at most {MAX_EVENT_BYTES} bytes as JSON")]
    return []


def _shown(value: object) -> str:
    text = write(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _tenant(where: str, value: object) -> Iterator[Problem]:
    if not is_tenant(value):
        yield Problem(where, _shown(value), A_TENANT)


def _time(where: str, value: object) -> Iterator[Problem]:
    try:
        canonical_time(value if isinstance(value, str) else "")
    except ValueError:
        yield Problem(where, _shown(value), _A_TIME)


def _text(limit: int) -> Check:
    def check(where: str, value: object) -> Iterator[Problem]:
        if not isinstance(value, str) or not 1 <= len(value) <= limit:
            yield Problem(where, _shown(value), f"a text of 1 to {limit} characters")

    return check


def _object(where: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield Problem(where, _shown(value), "an object")


def _texts(where: str, value: object) -> Iterator[Problem]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        yield Problem(where, _shown(value), "an object whose values are texts")


def _each(check: Check, limit: int) -> Check:
    def check_all(where: str, value: object) -> Iterator[Problem]:
        if not isinstance(value, list) or len(value) > limit:
            yield Problem(where, _shown(value), f"a list of at most {limit}")
            return
        for index, item in enumerate(value):
            yield from check(f"{where}[{index}]", item)

    return check_all


def _record(fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    """An object of these fields and any others."""

    def check(where: str, value: object) -> Iterator[Problem]:
        if not isinstance(value, dict):
            yield Problem(where or "(event)", _shown(value), "an object")
            return
        prefix = f"{where}." if where else ""
        for name in (name for name in required if name not in value):
            yield Problem(f"{prefix}{name}", "nothing", "it is required")
        for name in (name for name in fields if name in value):
            yield from fields[name](f"{prefix}{name}", value[name])

    return check


def _may_be_empty(check: Check) -> Check:
    """In whatever way that is said."""
    return lambda where, value: iter(()) if value in _EMPTY else check(where, value)


def _nothing(why: str) -> Check:
    def check(where: str, value: object) -> Iterator[Problem]:
        yield Problem(where, _shown(value), f"nothing: {why}")

    return check


_NAMED = _record({"id": _text(256), "details": _may_be_empty(_object)}, required=("id",))
_CONTEXT = _record(
    {"sourceIpAddress": _may_be_empty(_text(64)), "userAgent": _may_be_empty(_text(1024))},
)
_EVENT = _record(
    {
        "eventId": _nothing("the service gives every event an id of its own"),
        "serviceEvent": _nothing("it marks what the service itself has written"),
        "eventSchemaVersion": _nothing("it says by which schema the service took the event in"),
        "tenantId": _tenant,
        "eventTime": _time,
        "eventName": _text(256),
        "actor": _may_be_empty(_NAMED),
        "resources": _may_be_empty(_each(_NAMED, 100)),
        "context": _may_be_empty(_CONTEXT),
        "eventDetails": _may_be_empty(_object),
        "tags": _may_be_empty(_texts),
    },
    required=("tenantId", "eventTime", "eventName"),
)
