"""A tenant that reads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from audit.traffic.model import Customer

PAGE = "100"
# How many tenants read side by side.
READERS = 4
# A busy machine may keep a service from answering for so long; then its not answering is the result.
ANSWERS_WITHIN_S = 300.0
ASK_AGAIN_S = 0.5
TOO_MANY = 429  # is no word about what may be read


class Reader:
    """Reads events through the edge."""

    def __init__(self, edge_url: str, client: httpx.Client) -> None:
        self._edge_url = edge_url
        self._client = client

    def ask(
        self, host: str, key: str, parameters: Mapping[str, str | list[str]]
    ) -> tuple[list[dict[str, Any]], str | None]:
        """One answer: its events and its cursor; none when it is a refusal. Asks again for a while after a failure.

        Raises httpx.HTTPError.
        """
        deadline = time.monotonic() + ANSWERS_WITHIN_S
        while (answer := self._answer(host, key, parameters, deadline)) is None:
            time.sleep(ASK_AGAIN_S)
        if answer.is_client_error:
            return [], None
        found = answer.json()
        return found["events"], found["cursor"]

    def _answer(
        self, host: str, key: str, parameters: Mapping[str, str | list[str]], deadline: float
    ) -> httpx.Response | None:
        """An answer that is none of a failing or a busy service; None for another attempt before the deadline."""
        try:
            answer = self._client.get(
                f"{self._edge_url}/{host}/v1/events",
                params=parameters,
                headers={"Authorization": f"Bearer {key}"},
            )
            if not answer.is_client_error or answer.status_code == TOO_MANY:
                answer.raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            return None
        return answer

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
