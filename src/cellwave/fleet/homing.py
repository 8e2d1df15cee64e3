"""Which cell of a product region is an identity's home: pure, and the same for ever."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from cellwave.fleet.model import Homing


class Weighted(Protocol):
    """A cell, or what is known of one."""

    @property
    def name(self) -> str:
        """The cell's name."""

    @property
    def weight(self) -> float:
        """Its share of traffic relative to the other cells."""


AnyCell = TypeVar("AnyCell", bound=Weighted)


def home_cell(identity: str, cells: Iterable[AnyCell]) -> AnyCell:
    """The cell that serves the identity: weighted rendezvous hashing over the cells' traffic weights.

    Adding a cell moves identities to it only, removing one moves only its own.
    """
    return by_preference(identity, cells)[0]


def by_preference(identity: str, cells: Iterable[AnyCell]) -> list[AnyCell]:
    """The cells in the order in which each would be the identity's home, were none before it there."""
    return sorted(cells, key=lambda cell: (_score(identity, cell), cell.name), reverse=True)


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


def _score(identity: str, cell: Weighted) -> float:
    digest = hashlib.sha256(f"{identity}\0{cell.name}".encode()).digest()
    uniform = (int.from_bytes(digest[:8], "big") + 0.5) / 2**64
    return -cell.weight / math.log(uniform)
