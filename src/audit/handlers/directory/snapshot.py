"""What the control plane tells the cells of a product region: one S3 object, and a MAC of it as its metadata.

The body is {"region": name, "version": n, "applications": …, "events": [what was done]} as UTF-8 JSON. The MAC is made
by a KMS key of the control plane that no cell may make one with. So a snapshot is taken as the control plane wrote it,
or not at all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from audit.handlers.common.directory import is_directory
from audit.handlers.common.http import parse_json

MAC = "mac"  # the name of the metadata: base64
ALGORITHM: Literal["HMAC_SHA_256"] = "HMAC_SHA_256"


class Refused(Exception):
    """A snapshot is not one that this cell may take; the text says why."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot as it was read. `version` is larger the newer it is (0: none was ever brought here)."""

    region: str
    version: int
    applications: Mapping[str, Any]
    body: bytes
    mac: str
    events: Sequence[Mapping[str, Any]] = ()
    cells: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def message_of(body: bytes) -> bytes:
    """What the MAC is made of: KMS takes no more than 4,096 bytes."""
    return hashlib.sha256(body).digest()


def mac_of(snapshot: Snapshot) -> bytes:
    """The MAC that came along; raises Refused when that is none."""
    try:
        found = base64.b64decode(snapshot.mac, validate=True)
    except binascii.Error:
        found = b""
    if not found:
        raise Refused("the snapshot is not signed")
    return found


def parsed(body: bytes, metadata: Mapping[str, str]) -> Snapshot:
    """The snapshot that an object holds; raises Refused when it holds none."""
    try:
        content = parse_json(body)
    except ValueError as error:
        raise Refused(f"the snapshot is broken: {error}") from None
    if not isinstance(content, dict) or not is_directory(content.get("applications")):
        raise Refused("the snapshot is broken: it holds no applications, tenants and keys")
    region, version = content.get("region", ""), content.get("version", 0)
    if not isinstance(region, str) or type(version) is not int or version < 0:
        raise Refused("the snapshot is broken: its region or version is none")
    events = content.get("events", [])
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise Refused("the snapshot is broken: its events are none")
    cells = content.get("cells", {})
    if not isinstance(cells, dict) or not all(isinstance(cell, dict) for cell in cells.values()):
        raise Refused("the snapshot is broken: its cells are none")
    return Snapshot(region, version, content["applications"], body, metadata.get(MAC, ""), events, cells)
