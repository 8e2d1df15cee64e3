"""The customers, against a small product of this test's own: no word of the real one is known here."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import boto3
import httpx
import pytest

from audit.traffic.crossing import cross_tenant_reads
from audit.traffic.customers import invent
from audit.traffic.load import IN_FLIGHT, Traffic, ordinary_queries
from audit.traffic.model import Accepted, Config, Customer, Ledger, read_ledger
from audit.traffic.verify import verify
from cellwave.fleet.homing import home_cell, identity_of
from cellwave.fleet.model import Cell, Fleet, Region, Service
from cellwave.fleet.parse import parse_fleet
from cellwave.project import Project, find_project
from cellwave.waves.parse import parse_strategy
from tests.sandbox.aws import http_api, session

ACCOUNT, REGION = "200000000921", "eu-west-1"
CELL = Cell(name="shop", account=ACCOUNT, aws_region=REGION)
FLEET = Fleet(
    role="arn:aws:iam::{account}:role/cellwave-deploy",
    services=(Service(name="api", program="."),),
    regions=(Region(name="eu", endpoint="eu.example", residency="EU", cells=(CELL,)),),
)
BUCKET = f"shop-{ACCOUNT}-archive"
# Stores every event as an object of the archive, and answers pages of three. A tenant's secret names it.
PRODUCT = """
import base64, json, os, uuid
import boto3
s3 = boto3.client("s3")
BUCKET = os.environ["BUCKET"]
def reply(status, body):
    return {"statusCode": status, "body": json.dumps(body)}
def handler(event, context):
    fields = base64.b64decode(event["headers"]["authorization"].split()[1]).decode().split(",")
    if event["requestContext"]["http"]["method"] == "POST":
        body = json.loads(event["body"])
        events = body.get("events", [body])
        for one in events:
            key = f"{fields[0]}/{one['tenantId']}/{uuid.uuid4()}.jsonl"
            s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(one) + "\\n")
        return reply(202, {"accepted": len(events)})
    if len(fields) != 3 or fields[2] != f"{fields[1]}-of-{fields[0]}":
        return reply(401, {})
    asked = event.get("queryStringParameters") or {}
    tenant = asked.get("tenantId", fields[1]) if os.environ.get("LEAKS") else fields[1]
    prefix = f"{fields[0]}/{tenant}/"
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix, StartAfter=asked.get("cursor", ""), MaxKeys=3)
    keys = [one["Key"] for one in found.get("Contents", ())]
    events = [json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys]
    return reply(200, {"events": events, "cursor": keys[-1] if found["IsTruncated"] else None})
"""


def encoded(*fields: str) -> str:
    """A key of these fields."""
    return base64.b64encode(",".join(fields).encode()).decode()


def secret_of(application: str, tenant: str) -> str:
    """The secret that the product below expects of a tenant."""
    return f"{tenant}-of-{application}"


def customers(host: str) -> tuple[Customer, ...]:
    """Two applications of two tenants each, one of the same name in both."""
    return tuple(
        Customer(
            application=application,
            region="eu",
            events_host=host,
            query_host=host,
            key=encoded(application, "secret"),
            tenants={
                t: encoded(application, t, secret_of(application, t)) for t in ("one", f"{application}-2")
            },
        )
        for application in ("acme", "zeta")
    )


def config_for(api_id: str) -> Config:
    """Traffic to that API; the edge's own path stands in for a product host."""
    edge = f"{os.environ['CELLWAVE_EDGE_URL']}/_api/{ACCOUNT}/{REGION}"
    return Config(edge_url=edge, rate=40, customers=customers(api_id))


@pytest.fixture(scope="module")
def aws(sandbox: Project) -> boto3.Session:
    """The cell's account, with an archive."""
    found = session(ACCOUNT, REGION)
    found.client("s3").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    return found


@pytest.fixture(scope="module")
def config(aws: boto3.Session) -> Config:
    """Traffic to a product that keeps tenants apart."""
    return config_for(http_api(aws, "tight", PRODUCT, BUCKET=BUCKET))


def run_traffic(
    config: Config, ledger: Path, client: httpx.AsyncClient, enough: Callable[[Traffic], bool]
) -> Traffic:
    """Make traffic until there is enough of it."""

    async def run() -> Traffic:
        file = Ledger(ledger)
        async with client:
            traffic = Traffic(config, file, client)
            stop = asyncio.Event()
            running = asyncio.create_task(traffic.run(stop))
            deadline = time.monotonic() + 240
            while not enough(traffic) and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            stop.set()
            await running
        assert enough(traffic), traffic.answers
        file.close()
        return traffic

    return asyncio.run(run())


@pytest.fixture(scope="module")
def ledger(config: Config, tmp_path_factory: pytest.TempPathFactory) -> list[Accepted]:
    """What a second of traffic got accepted."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    traffic = run_traffic(config, path, httpx.AsyncClient(), lambda t: t.answers["post", 202] >= 10)
    assert traffic.answers["query", 200] > 0
    return list(read_ledger(path))


def test_every_accepted_event_is_found(ledger: list[Accepted], config: Config) -> None:
    """All that the ledger names is in the query API's pages and in the archive."""
    found = verify(ledger, config, FLEET, within_s=60)
    assert (found.accepted, found.lost, found.misplaced) == (len(ledger), 0, ())


def test_a_lost_event_is_named(ledger: list[Accepted], config: Config) -> None:
    """An event that is nowhere is named for both places; one under another tenant is misplaced, and not readable."""
    lost = ledger[0].model_copy(update={"id": "gone"})
    other = "one" if ledger[1].tenant != "one" else f"{ledger[1].application}-2"
    moved = ledger[1].model_copy(update={"tenant": other})
    found = verify([lost, moved], config, FLEET, within_s=0)
    assert found.missing_in_archive == ("gone",)
    assert set(found.missing_in_query) == {"gone", moved.id}
    assert found.misplaced == (moved.id,)
    assert found.lost == 2


def test_tenants_that_are_kept_apart_read_only_their_own(ledger: list[Accepted], config: Config) -> None:
    """Many attempts, none of which gives an event of another; one's own events are given."""
    found = cross_tenant_reads(ledger, config)
    assert found.own > 0
    assert found.attempts >= 30
    assert found.reads == 0


def test_a_leak_is_seen(ledger: list[Accepted], aws: boto3.Session) -> None:
    """A product that believes the query's tenantId is caught."""
    leaky = config_for(http_api(aws, "leaky", PRODUCT, BUCKET=BUCKET, LEAKS="1"))
    assert cross_tenant_reads(ledger, leaky).reads > 0


def test_only_what_was_accepted_is_in_the_ledger(tmp_path: Path) -> None:
    """Refusals, failures and lost connections leave no line; an upload's events are there once S3 took them."""
    taken: list[str] = []
    turn = iter(range(10_000))

    def api(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/applications/session"):
            return httpx.Response(200, json={"uploadUrl": "http://s3/landing", "form": {"policy": "p"}})
        if request.method == "GET":
            return httpx.Response(500)
        number = next(turn)
        if number % 3 == 1:
            return httpx.Response(503)
        if number % 3 == 2:
            raise httpx.ConnectError("gone")
        if request.url.host == "s3":
            lines = [line for line in request.content.split(b"\r\n") if line.startswith(b'{"')]
            taken.extend(json.loads(line)["eventDetails"]["id"] for line in lines[0].splitlines())
            return httpx.Response(204)
        body = json.loads(request.content)
        taken.extend(event["eventDetails"]["id"] for event in body.get("events", [body]))
        return httpx.Response(202, json={})

    config = Config(edge_url="http://edge", rate=2000, customers=customers("host"))
    client = httpx.AsyncClient(transport=httpx.MockTransport(api))
    path = tmp_path / "ledger.jsonl"
    traffic = run_traffic(config, path, client, lambda t: t.answers["upload", 204] >= 5)
    written = list(read_ledger(path))
    assert sorted(event.id for event in written) == sorted(taken)
    assert {event.how for event in written} == {"direct", "upload"}
    assert traffic.answers["post", 503] > 0
    assert traffic.answers["post", 0] > 0


def paths_in_order(tmp_path: Path, application: str, *, enough: int) -> list[tuple[str, str]]:
    """Service and path (a query by its parameters' names) of each request of a customer, none of which is refused."""
    asked: list[tuple[str, str]] = []

    def api(request: httpx.Request) -> httpx.Response:
        service = request.url.path.split("/")[1]
        if request.url.path.endswith("/applications/session"):
            asked.append((service, "session"))
            return httpx.Response(200, json={"uploadUrl": "http://edge/s3/landing", "form": {"policy": "p"}})
        if request.method == "GET":
            asked.append((service, ",".join(sorted(request.url.params))))
            return httpx.Response(200, json={"events": [], "cursor": "next"})
        if service == "s3":
            asked.append((service, "form"))
            return httpx.Response(204)
        body = json.loads(request.content)
        asked.append((service, "many" if len(body.get("events", [])) > 1 else "one"))
        return httpx.Response(202, json={})

    customer = customers("host")[0].model_copy(
        update={"application": application, "events_host": "events", "query_host": "query"}
    )
    config = Config(edge_url="http://edge", rate=20_000, customers=(customer,))
    client = httpx.AsyncClient(transport=httpx.MockTransport(api))
    run_traffic(config, tmp_path / "ledger.jsonl", client, lambda _: len(asked) >= enough)
    return asked[:enough]


@pytest.mark.parametrize("application", ["us-shop-1", "eu-shop-2", "jp-shop-3"])
def test_what_a_bake_calls_enough_traffic_has_been_everywhere(tmp_path: Path, application: str) -> None:
    """Wherever a customer is in its round, as many requests of a service as a bake wants go every way it has."""
    project = find_project(Path(__file__).parent)
    strategy = parse_strategy(project.waves_file(), parse_fleet(project.config_files()))
    bakes = [wave.bake or strategy.bake for wave in strategy.waves]
    wanted = min(bake.samples for bake in bakes)
    asked = paths_in_order(tmp_path, application, enough=200)
    kinds = {",".join(sorted(q)) for q in ordinary_queries(datetime.now(UTC), random.Random(0))}
    ways = {
        "query": kinds | {"cursor,limit"},
        "events": {"one", "many", "session"},
        "s3": {"form"},
    }
    assert {service for service, _ in asked} == ways.keys()
    for service, every in ways.items():
        paths = [path for at, path in asked if at == service]
        assert set(paths) == every
        for start in range(len(paths) - wanted):
            assert set(paths[start : start + wanted]) == every


def test_a_customer_does_the_same_whenever_it_is_let_loose(tmp_path: Path) -> None:
    """Its name is the seed: the same round from the same place, and others begin elsewhere."""
    first, again = (paths_in_order(tmp_path, "us-shop-1", enough=60) for _ in range(2))
    assert first == again
    firsts = {tuple(paths_in_order(tmp_path, f"shop-{n}", enough=3)) for n in range(12)}
    assert len(firsts) > 3


def test_a_slow_service_makes_only_its_own_customers_wait(tmp_path: Path) -> None:
    """At most IN_FLIGHT requests of a customer are under way, however many are due; others go on as ever."""
    under_way: Counter[str] = Counter()
    most: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    enough = asyncio.Event()

    async def api(request: httpx.Request) -> httpx.Response:
        host = request.url.path.split("/")[1]
        under_way[host] += 1
        most[host] = max(most[host], under_way[host])
        if host == "slow":
            await enough.wait()
        under_way[host] -= 1
        answered[host] += 1
        return httpx.Response(503)

    async def run() -> None:
        slow, quick = (customers(host)[0] for host in ("slow", "quick"))
        config = Config(edge_url="http://edge", rate=2000, customers=(slow, quick))
        async with httpx.AsyncClient(transport=httpx.MockTransport(api)) as client:
            stop, file = asyncio.Event(), Ledger(tmp_path / "ledger")
            running = asyncio.create_task(Traffic(config, file, client).run(stop))
            while answered["quick"] < 200:
                await asyncio.sleep(0)
            assert answered["slow"] == 0
            enough.set()
            stop.set()
            await running
            file.close()

    asyncio.run(run())
    assert most["slow"] == IN_FLIGHT
    assert most["quick"] <= IN_FLIGHT
    assert answered["slow"] == IN_FLIGHT


def test_a_line_that_a_kill_cut_off_is_ignored(tmp_path: Path) -> None:
    """A ledger whose last line has no end still gives all lines before it."""
    path = tmp_path / "ledger.jsonl"
    event = Accepted(
        id="1", application="a", tenant="t", region="eu", time="2025-01-01T00:00:00Z", how="direct"
    )
    file = Ledger(path)
    file.add([event])
    file.close()
    path.write_text(path.read_text() + '{"id": "2", "appl')
    assert list(read_ledger(path)) == [event]
    assert list(read_ledger(tmp_path / "none")) == []


def test_keys_are_not_shown() -> None:
    """Neither a customer's representation nor the configuration's shows a key."""
    text = repr(Config(edge_url="http://edge", rate=1, customers=customers("host")))
    assert encoded("acme", "secret") not in text
    assert encoded("acme", "one", secret_of("acme", "one")) not in text


def test_every_cell_is_home_to_one_customer() -> None:
    """An application is invented for each cell, by the rule by which the edge finds its home."""
    fleet = parse_fleet(find_project(Path(__file__).parent).config_files())
    homes = [home_cell(application, region.cells).name for application, region in invent(fleet)]
    assert homes == [cell.name for cell in fleet.cells]
    rule = fleet.homing
    assert all(
        identity_of({"authorization": f"Bearer {encoded(name, 'secret')}"}, rule) == name
        for name, _ in invent(fleet)
    )
