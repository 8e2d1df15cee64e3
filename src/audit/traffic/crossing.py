"""Can a tenant read what belongs to another? Tried in earnest, with every tenant's key."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from audit.traffic.model import Accepted, Config, Customer
from audit.traffic.reading import READERS, Reader, id_of
from cellwave.frozen import Frozen

Owner = tuple[str, str]


class Crossing(Frozen):
    """What came of it. `own` is how many events tenants got with their own key (0 would make the rest worthless),
    `attempts` the requests that tried to get others', `reads` the events that came back and belong to others."""

    own: int
    attempts: int
    reads: int


class Attempt(Frozen):
    """One request that should give nothing of others: `entitled` is whose events its key may read (None: nobody's)."""

    host: str
    key: str
    parameters: dict[str, str | list[str]] = {}
    entitled: Owner | None = None


def cross_tenant_reads(events: Collection[Accepted], config: Config) -> Crossing:
    """Try with every tenant's key; raises httpx.HTTPError when the API doesn't answer.

    Refusals count as 4xx in the API's metrics, so not while a rollout bakes.
    """
    owners = {event.id: (event.application, event.tenant) for event in events}
    tenants = [(customer, tenant) for customer in config.customers for tenant in customer.tenants]
    with (
        httpx.Client(timeout=30, trust_env=False) as client,
        ThreadPoolExecutor(READERS) as pool,
    ):
        reader = Reader(config.edge_url, client)
        found = list(pool.map(lambda who: _try(reader, config, who[0], who[1], owners), tenants))
    return Crossing(
        own=sum(one.own for one in found),
        attempts=sum(one.attempts for one in found),
        reads=sum(one.reads for one in found),
    )


def _try(
    reader: Reader, config: Config, customer: Customer, tenant: str, owners: Mapping[str, Owner]
) -> Crossing:
    """All that one tenant tries."""
    own, _ = reader.ask(customer.query_host, customer.tenants[tenant], {"limit": "100"})
    reads = foreign(own, (customer.application, tenant), owners)
    attempts = 0
    for attempt in _attempts(config, customer, tenant, reader.ask):
        attempts += 1
        found, _ = reader.ask(attempt.host, attempt.key, attempt.parameters)
        reads += foreign(found, attempt.entitled, owners)
    return Crossing(own=len(own), attempts=attempts, reads=reads)


def foreign(
    events: Collection[Mapping[str, Any]], entitled: Owner | None, owners: Mapping[str, Owner]
) -> int:
    """How many of the events belong to others than the entitled tenant, by the ledger, else by their tenantId."""

    def owner(event: Mapping[str, Any]) -> Owner:
        application = entitled[0] if entitled else ""
        return owners.get(id_of(event), (application, str(event.get("tenantId"))))

    return sum(owner(event) != entitled for event in events)


def _attempts(
    config: Config, customer: Customer, tenant: str, ask: Callable[..., tuple[Any, str | None]]
) -> Iterator[Attempt]:
    key, me, host = customer.tenants[tenant], (customer.application, tenant), customer.query_host
    secret = _fields(key)[-1]
    # An application key writes; it reads nobody's events.
    yield Attempt(host=host, key=customer.key)
    yield Attempt(host=host, key=customer.key, parameters={"tenantId": tenant})
    for other, victim in _victims(config, customer, tenant):
        # Asking for another's events with one's own key.
        yield Attempt(host=host, key=key, parameters={"tenantId": victim}, entitled=me)
        yield Attempt(host=host, key=key, parameters={"tenantId": [tenant, victim]}, entitled=me)
        asked: dict[str, str | list[str]] = {"tenantId": victim, "applicationId": other.application}
        yield Attempt(host=host, key=key, parameters=asked, entitled=me)
        # One's own secret under another's name.
        yield Attempt(host=other.query_host, key=_key(other.application, victim, secret))
        yield Attempt(host=other.query_host, key=_key(f"{other.application},{victim}", tenant, secret))
        if victim != tenant:  # two applications may have tenants of one name
            yield Attempt(host=other.query_host, key=_key(customer.application, victim, secret))
        # A key of another application, or of another region.
        yield Attempt(host=other.query_host, key=key, parameters={"tenantId": victim}, entitled=me)
        # Another's cursor.
        _, cursor = ask(other.query_host, other.tenants[victim], {"limit": "1"})
        if cursor is not None:
            stolen: dict[str, str | list[str]] = {"limit": "1", "cursor": cursor}
            yield Attempt(host=other.query_host, key=key, parameters=stolen, entitled=me)


def _victims(config: Config, customer: Customer, tenant: str) -> Iterator[tuple[Customer, str]]:
    """A tenant of the same application, one of another application, one of another region: where there is such."""
    start = config.customers.index(customer)
    others = [
        (other, victim)
        for other in (*config.customers[start:], *config.customers[:start])
        for victim in other.tenants
        if (other.application, victim) != (customer.application, tenant)
    ]
    alike: tuple[Callable[[Customer], bool], ...] = (
        lambda other: other.application == customer.application,
        lambda other: other.application != customer.application and other.region == customer.region,
        lambda other: other.region != customer.region,
    )
    for fits in alike:
        yield from [(other, victim) for other, victim in others if fits(other)][:1]


def _fields(key: str) -> list[str]:
    return base64.b64decode(key).decode().split(",")


def _key(*fields: str) -> str:
    return base64.b64encode(",".join(fields).encode()).decode()
