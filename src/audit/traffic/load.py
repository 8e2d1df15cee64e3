"""Steady traffic: direct posts, uploads through POST policies, and ordinary queries.

A customer goes round and round through all of them, so that however little traffic there is, what a bake calls enough
of it has been everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx

from audit.traffic.model import Accepted, Config, Customer, Ledger

# Requests of one customer at a time: a slow service makes its customers wait, and nobody else's. The more wait, the
# slower a busy machine answers each.
IN_FLIGHT = 1
ANSWER_WITHIN_S = 35.0
SESSION_UPLOADS = 2  # as many as a round has, so that each asks for a session
NAMES = ("user.login", "user.logout", "document.read", "document.share", "key.rotate")
ACTORS = tuple(f"user-{n}" for n in range(8))
RESOURCES = tuple(f"document-{n}" for n in range(20))
QUERIES = 9
PAGED = 1  # the kind of them whose second page is read

Action = Callable[[], Awaitable[int]]


@dataclass
class Session:
    """An upload session and how often it may still be used."""

    url: str
    form: dict[str, str]
    left: int = SESSION_UPLOADS


class Traffic:
    """Calls the API at the configured rate until told to stop; `answers` counts them by action and status (0: none)."""

    def __init__(self, config: Config, ledger: Ledger, client: httpx.AsyncClient) -> None:
        self._config = config
        self._ledger = ledger
        self._client = client
        self._sessions: dict[str, Session] = {}
        self.answers: Counter[tuple[str, int]] = Counter()

    async def run(self, stop: asyncio.Event) -> None:
        """Make traffic until `stop`, then wait for what is in flight."""
        lanes = IN_FLIGHT * len(self._config.customers)
        async with asyncio.TaskGroup() as group:
            rounds = [self._round(customer) for customer in self._config.customers]
            for number, todo in enumerate(rounds * IN_FLIGHT):
                group.create_task(
                    self._live(todo, stop, number / self._config.rate, lanes / self._config.rate)
                )

    def _round(self, customer: Customer) -> Iterator[tuple[str, Action]]:
        """All that a customer does, in turn and for ever. Its name alone says where it begins, and what it asks for."""
        chance = random.Random(customer.application)
        posts = [("post", partial(self.post, customer, chance, most)) for most in (1, 5, 1, 5, 1, 5, 1)]
        upload = ("upload", partial(self.upload, customer, chance))
        queries = [("query", partial(self.query, customer, chance, kind)) for kind in range(QUERIES)]
        writes = [upload, *posts[:4], upload, *posts[4:]]
        todo: list[tuple[str, Action]] = [one for both in zip(writes, queries, strict=True) for one in both]
        return itertools.islice(itertools.cycle(todo), chance.randrange(len(todo)), None)

    async def _live(
        self, todo: Iterator[tuple[str, Action]], stop: asyncio.Event, after_s: float, every_s: float
    ) -> None:
        """One request after the other, at most one every so many seconds, none before the last one's answer."""
        due = time.monotonic() + after_s
        while not await _set_within(stop, due - time.monotonic()):
            await self._act(*next(todo))
            due = max(due + every_s, time.monotonic())

    async def _act(self, name: str, action: Action) -> None:
        try:
            status = await action()
        except (httpx.HTTPError, ValueError, KeyError):  # no answer, or none that the API promises
            status = 0
        self.answers[name, status] += 1

    async def post(self, customer: Customer, chance: random.Random, most: int) -> int:
        """POST /v1/events with one event, or with a few."""
        tenants = chance.choices(tuple(customer.tenants), k=chance.randint(min(2, most), most))
        events = [_event(tenant, chance) for tenant in tenants]
        answer = await self._client.post(
            f"{self._config.edge_url}/{customer.events_host}/v1/events",
            json={"events": events} if len(events) > 1 else events[0],
            headers=_bearer(customer.key),
        )
        if answer.status_code == 202:
            self._ledger.add(_accepted(customer, event, "direct") for event in events)
        return answer.status_code

    async def upload(self, customer: Customer, chance: random.Random) -> int:
        """Upload a file of events through the customer's upload session."""
        session = self._sessions.get(customer.application)
        if session is None or session.left <= 0:
            answer = await self._client.get(
                f"{self._config.edge_url}/{customer.events_host}/applications/session",
                headers=_bearer(customer.key),
            )
            if answer.status_code != 200:
                return answer.status_code
            session = Session(answer.json()["uploadUrl"], answer.json()["form"])
            self._sessions[customer.application] = session
        session.left -= 1
        tenants = chance.choices(tuple(customer.tenants), k=chance.randint(5, 20))
        events = [_event(tenant, chance) for tenant in tenants]
        answer = await self._client.post(
            session.url,
            data={**session.form, "key": f"{customer.application}/{uuid.uuid4()}.jsonl"},
            files={"file": ("events.jsonl", "".join(f"{json.dumps(e)}\n" for e in events).encode())},
        )
        if answer.is_success:
            self._ledger.add(_accepted(customer, event, "upload") for event in events)
        else:
            self._sessions.pop(customer.application, None)
        return answer.status_code

    async def query(self, customer: Customer, chance: random.Random, kind: int) -> int:
        """GET /v1/events with one of the ordinary filters; of the smallest answer, the next page when there is one."""
        key = chance.choice(tuple(customer.tenants.values()))
        parameters = ordinary_queries(datetime.now(UTC), chance)[kind]
        answer = await self._get(customer, key, parameters)
        cursor = answer.json()["cursor"] if answer.status_code == 200 else None
        if cursor and kind == PAGED:
            answer = await self._get(customer, key, {**parameters, "cursor": cursor})
        return answer.status_code

    async def _get(self, customer: Customer, key: str, parameters: dict[str, str]) -> httpx.Response:
        url = f"{self._config.edge_url}/{customer.query_host}/v1/events"
        return await self._client.get(url, params=parameters, headers=_bearer(key))


def ordinary_queries(now: datetime, chance: random.Random) -> list[dict[str, str]]:
    """What a tenant asks for on any day: QUERIES kinds, with other values each time."""
    name, actor, resource = chance.choice(NAMES), chance.choice(ACTORS), chance.choice(RESOURCES)
    lately = {"from": _text(now - timedelta(minutes=10)), "to": _text(now)}
    return [
        {},
        {"limit": "5"},
        {"eventName": name},
        {"actorId": actor},
        {"resourceId": resource},
        {"eventName": name, "actorId": actor, "limit": "20"},
        lately,
        {**lately, "eventName": name},
        {"from": lately["from"], "limit": "10"},
    ]


def _event(tenant: str, chance: random.Random) -> dict[str, Any]:
    return {
        "tenantId": tenant,
        "eventTime": _text(datetime.now(UTC)),
        "eventName": chance.choice(NAMES),
        "actor": {"id": chance.choice(ACTORS), "details": {"role": "member"}},
        "resources": [{"id": chance.choice(RESOURCES)}],
        "context": {"sourceIpAddress": "192.0.2.7", "userAgent": "traffic/1"},
        "eventDetails": {"id": str(uuid.uuid4())},
        "tags": {"origin": "traffic"},
    }


def _accepted(customer: Customer, event: dict[str, Any], how: Any) -> Accepted:
    return Accepted(
        id=event["eventDetails"]["id"],
        application=customer.application,
        tenant=event["tenantId"],
        region=customer.region,
        time=event["eventTime"],
        how=how,
    )


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event is set within the time."""
    # wait_for without time left gives up before it looks, and lets nobody else run.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), max(seconds, 0.001))
    return event.is_set()
