"""Which cell of a product region is an identity's home: pure, and the same for ever."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping

from cellwave.fleet.model import Cell, Homing


def home_cell(identity: str, cells: Iterable[Cell]) -> Cell:
    """The cell that serves the identity: weighted rendezvous hashing over the cells' traffic weights.

    Adding a cell moves identities to it only, removing one moves only its own.
    """
    return max(cells, key=lambda cell: (_score(identity, cell), cell.name))


def identity_of(headers: Mapping[str, str], homing: Homing | None) -> str:
    """Whose request it is, by the fleet's rule; empty when there is no rule, or nothing that can be read by it.

    `headers` are looked up in lower case.
    """
    if homing is None:
        return ""
    value = headers.get(homing.header.lower(), "")
    if homing.scheme is not None:
        scheme, _, value = value.partition(" ")
        if scheme.lower() != homing.scheme.lower():
            return ""
    if homing.base64:
        value = value.strip()
        try:
            # With or without its padding it is the same identity's.
            value = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
        except ValueError:  # not ASCII, not base64, or no text in it
            return ""
    return value.split(homing.until, 1)[0] if homing.until else value


def _score(identity: str, cell: Cell) -> float:
    digest = hashlib.sha256(f"{identity}\0{cell.name}".encode()).digest()
    uniform = (int.from_bytes(digest[:8], "big") + 0.5) / 2**64
    return -cell.weight / math.log(uniform)
