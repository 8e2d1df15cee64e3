"""Whether an event is one that a filter asks for: by the event's own JSON, whenever it was indexed."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unicodedata import normalize

from audit.handlers.common.exact import Number, write

Match = Callable[[Mapping[str, Any]], bool]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_WORDS = 10
AN_ADDRESS = "an IP address, or a network such as 203.0.113.0/24 or 2001:db8::/32"

_LIKE_AN_ADDRESS = re.compile(r"[0-9A-Fa-f]*[.:/][0-9A-Fa-f.:/]*")


def fold(text: str) -> str:
    """A text without what is not to count: Unicode's caseless, compatible form (NFKC and full case folding).

    So case, width, ligatures and the way an accent is written don't count (STRASSE is straße); accents do (é is no e).
    """
    if text.isascii():
        return text.lower()
    once = normalize("NFKC", normalize("NFD", text).casefold())
    return normalize("NFKC", once.casefold())


def has_words(asked: str) -> Match:
    """Whether each word of a text, in any order, is in one of the texts that are searched, or a part of it.

    Words are what blanks separate. Raises ValueError unless there are 1 to MOST_WORDS of them.
    """
    words = fold(asked).split()
    if not 1 <= len(words) <= MOST_WORDS:
        raise ValueError(f"found {len(words)} words, expected 1 to {MOST_WORDS}, separated by blanks")

    def matches(event: Mapping[str, Any]) -> bool:
        texts = [fold(text) for text in searched(event)]
        return all(any(word in text for text in texts) for word in words)

    return matches


def searched(event: Mapping[str, Any]) -> Iterator[str]:
    """The texts of an event that words are looked for in: all that is a text or a number, however deep, in the details
    of the event, its actor and its resources, and in its context. Names of fields are none."""
    about = [event.get("actor"), *(event.get("resources") or ())]
    for value in (
        event.get("eventDetails"),
        event.get("context"),
        *((one or {}).get("details") for one in about),
    ):
        yield from _texts(value)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
    elif isinstance(value, int | float | Number) and not isinstance(value, bool):
        yield write(value)


def has_tag(asked: str) -> Match:
    """Whether a tag is of that name, or is `name:value` exactly."""

    def matches(event: Mapping[str, Any]) -> bool:
        tags = event.get("tags") or {}
        return asked in tags or any(f"{name}:{value}" == asked for name, value in tags.items())

    return matches


def comes_from(asked: str) -> Match:
    """Whether the source is that address or in that network, however it is written; of another text, that very one.

    Raises ValueError for what looks like an address and is none.
    """
    network = _network(asked)
    if network is None and _LIKE_AN_ADDRESS.fullmatch(asked):
        raise ValueError(f"found {asked[:60]!r}, expected {AN_ADDRESS}")

    def matches(event: Mapping[str, Any]) -> bool:
        found = (event.get("context") or {}).get("sourceIpAddress") or ""
        if network is None:
            return bool(found == asked)
        # A mask is no part of an address.
        source = _network(found) if "/" not in found else None
        return source is not None and source.version == network.version and source.network_address in network

    return matches


def _network(text: str) -> Network | None:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    inside = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    return ipaddress.ip_network((inside, network.prefixlen - 96), strict=False) if inside else network


FILTERS: Mapping[str, Callable[[str], Match]] = {"tag": has_tag, "sourceIp": comes_from, "text": has_words}
