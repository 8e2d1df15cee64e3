"""A tenant that reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from cellwave.sandbox.traffic.model import Customer

PAGE = "100"
# How many tenants read side by side.
READERS = 4


class Reader:
    """Reads events through the edge."""

    def __init__(self, edge_url: str, client: httpx.Client) -> None:
        self._edge_url = edge_url
        self._client = client

    def ask(
        self, host: str, key: str, parameters: Mapping[str, str | list[str]]
    ) -> tuple[list[dict[str, Any]], str | None]:
        """One answer: its events and its cursor; none when it is a refusal. Raises httpx.HTTPError."""
        answer = self._client.get(
            f"{self._edge_url}/{host}/v1/events",
            params=parameters,
            headers={"Authorization": f"Bearer {key}"},
        )
        if answer.is_client_error:
            return [], None
        answer.raise_for_status()
        found = answer.json()
        return found["events"], found["cursor"]

    def everything(self, customer: Customer, tenant: str) -> Iterator[dict[str, Any]]:
        """All events that the tenant's own key gives, page after page."""
        parameters = {"limit": PAGE}
        while True:
            events, cursor = self.ask(customer.query_host, customer.tenants[tenant], parameters)
            yield from events
            if cursor is None:
                return
            parameters = {"limit": PAGE, "cursor": cursor}


def id_of(event: Mapping[str, Any]) -> str:
    """The id that the traffic gave an event; empty for an event of another origin."""
    details = event.get("eventDetails")
    return str(details.get("id", "")) if isinstance(details, dict) else ""
