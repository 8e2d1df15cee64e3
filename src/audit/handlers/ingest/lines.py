"""What an object holds: its lines, each an event of a tenant or what is none."""

from __future__ import annotations

import base64
import gzip
import io
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from audit.handlers.common.events import (
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    MAX_UPLOAD_BYTES,
    is_application,
    problems,
)
from audit.handlers.common.http import parse_json
from audit.handlers.common.schemas import MARK, held_against
from audit.handlers.ingest.landed import Landed

# A line may spell its event wider than we do (blanks, \u0041); what is wider by far is not worth the memory to parse.
LONGEST_LINE = 4 * MAX_EVENT_BYTES
RECORD_BYTES = 1024 * 1024  # of text that one record of many rejected lines holds
SHOWN_BYTES = 1000  # of what is refused as a whole: its beginning
GZIP = b"\x1f\x8b"  # no JSON in UTF-8 begins so
NO_LINES = (GZIP, BOM_UTF16_LE, BOM_UTF16_BE)
PART = 64 * 1024  # bytes that are unpacked at a time

Event = tuple[str, dict[str, Any]]  # its id, and itself


class Unreadable(Exception):
    """An object that is refused as a whole; the text says why. `begin` are its first bytes."""

    def __init__(self, why: str, begin: bytes) -> None:
        super().__init__(why)
        self.begin = begin[:SHOWN_BYTES]


@dataclass
class Content:
    """A landing object's lines: events by tenant, those that wait for their tenant to be registered, and what is no
    event, with the reason."""

    tenants: dict[str, list[Event]] = field(default_factory=dict)
    waiting: dict[str, list[Event]] = field(default_factory=dict)
    rejected: list[dict[str, object]] = field(default_factory=list)

    def reject(
        self,
        landed: Landed,
        number: int,
        reason: str,
        text: bytes,
        occurrence: int = 0,
        *,
        part: bool = False,
    ) -> None:
        """Keep what is no event: the lines from that number on. A `part` of what was sent can't be replayed: it could
        pass for an event that nobody sent, or for one of many whose others are missing."""
        record: dict[str, object] = {
            "object": landed.key,
            "line": number,
            "eventId": landed.identity(number, occurrence, text),
            "reason": reason,
        }
        try:
            record["text"] = text.decode()
        except UnicodeDecodeError:
            record["text"] = text[:SHOWN_BYTES].decode(errors="replace")
            record["base64"] = base64.b64encode(text).decode()
        if part or text.startswith(NO_LINES):
            record["replayable"] = False
        self.rejected.append(record)

    def reject_all(self, landed: Landed, number: int, reason: str, text: bytes) -> None:
        """Keep many lines in few records: a million short ones must not cost a million."""
        start = 0
        while start < len(text):
            end = min(start + RECORD_BYTES, len(text))
            amid = start > 0 and text[start - 1 : start] != b"\n"
            if amid:  # a line of more than a record: its rest stands by itself
                end = text.find(b"\n", start, end) + 1 or end
            elif end < len(text):
                end = text.rfind(b"\n", start, end) + 1 or end
            part = text[start:end]
            cut = amid or (end < len(text) and not part.endswith(b"\n"))
            self.reject(landed, number, reason, part, part=cut)
            number += part.count(b"\n")
            start = end


def sort(
    landed: Landed, registered: Callable[[str], bool], known: Mapping[str, Any] | None = None
) -> Content:
    """An object's lines. Raises what `registered` raises, which is asked of tenants.

    `known` is what was known of the application when the object was accepted: a post has been held against its schemas
    then, and is not rejected by them any more; its events say by which.
    """
    result = Content()
    if not is_application(landed.application):
        result.reject_all(landed, 1, "it lies under no application's prefix", landed.content)
        return result
    try:
        lines = io.BytesIO(unpacked(landed.content))
    except Unreadable as refused:
        result.reject(landed, 1, str(refused), refused.begin, part=True)
        return result
    held, seen = 0, Counter[bytes]()
    for number, whole in enumerate(lines, start=1):
        line = whole.removesuffix(b"\n")
        if not line.removeprefix(BOM_UTF8).strip():
            continue
        held += 1
        seen[line] += 1
        if held > MAX_EVENTS:
            reason = f"beyond the {MAX_EVENTS} lines that an object may hold"
            result.reject_all(landed, number, reason, whole + lines.read())
            break
        event, reason = _parse(line)
        if not reason:
            version, wrong = held_against(known or {}, event)
            reason = "" if landed.post else "; ".join(map(str, wrong))
            event = event if version is None else {MARK: version, **event}
        if reason:
            shown = line[:LONGEST_LINE]
            result.reject(landed, number, reason, shown, seen[line], part=len(shown) < len(line))
            continue
        tenant = event["tenantId"]
        found = result.tenants if registered(tenant) else result.waiting
        found.setdefault(tenant, []).append((landed.identity(number, seen[line], line), event))
    return result


def unpacked(content: bytes) -> bytes:
    """An object's text, of gzip as of none; Unreadable when that can be no lines of UTF-8, or too many bytes."""
    if content.startswith(GZIP):
        content = _gunzip(content)
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise Unreadable("it is UTF-16 by its first bytes, expected UTF-8", content)
    return content


def _gunzip(content: bytes) -> bytes:
    text = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            while len(text) <= MAX_UPLOAD_BYTES and (part := packed.read(PART)):
                text += part
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"it is no whole gzip: {error}", bytes(text[:SHOWN_BYTES])) from None
    if len(text) > MAX_UPLOAD_BYTES:
        begin = bytes(text[:SHOWN_BYTES])
        raise Unreadable(f"unpacked it has more than {MAX_UPLOAD_BYTES} bytes, the most there may be", begin)
    return bytes(text)


def _parse(line: bytes) -> tuple[dict[str, Any], str]:
    """(the event, "") or ({}, why it is none)."""
    if len(line) > LONGEST_LINE:
        return {}, f"{len(line)} bytes, of at most {LONGEST_LINE}"
    try:
        event = parse_json(line)
    except ValueError as error:
        return {}, f"no JSON: {error}"
    wrong = problems(event)
    return ({}, "; ".join(map(str, wrong))) if wrong else (event, "")
