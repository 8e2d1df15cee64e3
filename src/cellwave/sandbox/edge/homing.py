"""Which cell of a product region is an application's home: pure, and the same for ever."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable

from cellwave.fleet.model import Cell


def home_cell(application: str, cells: Iterable[Cell]) -> Cell:
    """The cell that serves the application: weighted rendezvous hashing over the cells' traffic weights.

    Adding a cell moves applications to it only, removing one moves only its own.
    """
    return max(cells, key=lambda cell: (_score(application, cell), cell.name))


def application_of(authorization: str) -> str:
    """The first field of the key in an Authorization header; empty when there is none that can be read."""
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return ""
    try:
        return base64.b64decode(key.strip(), validate=True).decode().split(",", 1)[0]
    except ValueError:  # not ASCII, not base64, or no text in it
        return ""


def _score(application: str, cell: Cell) -> float:
    digest = hashlib.sha256(f"{application}\0{cell.name}".encode()).digest()
    uniform = (int.from_bytes(digest[:8], "big") + 0.5) / 2**64
    return -cell.weight / math.log(uniform)
