"""Who the customers are, and the ledger of what was accepted from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from cellwave.frozen import Frozen


class Customer(Frozen):
    """An application in one product region: the hosts it calls, its key and its tenants' keys by tenant."""

    application: str
    region: str
    events_host: str
    query_host: str
    key: str = Field(repr=False)
    tenants: dict[str, str] = Field(repr=False, min_length=1)


class Config(Frozen):
    """What the traffic process reads: where the edge is, requests per second over all customers, and those."""

    edge_url: str
    rate: float = Field(gt=0)
    customers: tuple[Customer, ...] = Field(min_length=1)


class Accepted(Frozen):
    """An event that the API accepted. `id` stands in its eventDetails; `time` is its eventTime."""

    id: str
    application: str
    tenant: str
    region: str
    time: str
    how: Literal["direct", "upload"]


class Ledger:
    """Append-only JSON lines, on disk as soon as `add` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")

    def add(self, events: Iterable[Accepted]) -> None:
        """Record events."""
        self._file.write("".join(f"{event.model_dump_json()}\n" for event in events))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_ledger(path: Path) -> Iterator[Accepted]:
    """Every recorded event. A last line that was cut off by a kill is none."""
    for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
        if line.endswith("\n"):
            yield Accepted.model_validate_json(line)
