"""The gates of a deployed cell: what its release does condemns it, what strangers or a single customer do does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from cellwave.health.model import GateResult, Verdict
from cellwave.health.ports import Scope
from cellwave.health.read import LiveSource, Watched, counting, read_gates
from cellwave.waves.model import Bake
from tests.audit.deployment import CELL, Deployment, until
from tests.audit.support import event

pytestmark = pytest.mark.engine


def gates(deployed: Deployment, since: float) -> dict[str, GateResult]:
    """What the gates of ingest and query see of data newer than `since`. How fast a busy machine is, is no matter here,
    so the latency is left out, and the alarms that look at it are seen one by one."""
    fleet = deployed.fleet
    watched = [
        Watched(scope=Scope.of(fleet, CELL, service, deployed.outputs(service)), since=since)
        for service in ("ingest", "query")
    ]
    everywhere = [(cell.name, service.name) for cell in fleet.cells for service in fleet.services]
    bake, many = Bake(seconds=1, samples=5, limit=1), counting(fleet, everywhere)
    found = read_gates(fleet, watched, LiveSource(), bake, since, gates=many, now=time.time())
    return {f"{one.service} {one.gate}": one for one in found if one.gate not in ("latency", "alarm")}


def red(deployed: Deployment) -> set[str]:
    """The metric alarms that are red, without those of the latency."""
    found = deployed.aws("cloudwatch").describe_alarms(StateValue="ALARM", AlarmTypes=["MetricAlarm"])
    return {alarm["AlarmName"] for alarm in found["MetricAlarms"] if alarm["MetricName"] != "Latency"}


def ordinary_traffic(deployed: Deployment) -> None:
    """A few requests of a customer, right ones."""
    ingest, query = (deployed.outputs(service)["url"] for service in ("ingest", "query"))
    for _ in range(6):
        httpx.post(f"{ingest}/v1/events", headers=deployed.keys["acme"], json=event(), timeout=60)
        httpx.get(f"{query}/v1/events", headers=deployed.keys["acme/t1"], timeout=60)
        time.sleep(0.3)


def flood(deployed: Deployment) -> list[int]:
    """What strangers send, and one customer who sends nothing right; the answers' statuses."""
    ingest, query = (deployed.outputs(service)["url"] for service in ("ingest", "query"))
    garbage = {"Authorization": "Bearer bm9ib2R5LHg="}
    known = deployed.keys["acme"]
    session = httpx.get(f"{ingest}/applications/session", headers=known, timeout=60).json()

    def upload(number: int) -> httpx.Response:
        form = {**session["form"], "key": f"acme/bad-{number}"}
        return httpx.post(session["uploadUrl"], data=form, files={"file": b"no event\n" * 50}, timeout=60)

    asks: list[Callable[[int], httpx.Response]] = [
        lambda _: httpx.post(f"{ingest}/v1/events", json=event(), timeout=60),
        lambda _: httpx.get(f"{query}/v1/events", headers=garbage, timeout=60),
        lambda n: httpx.get(f"{query}/{n}", timeout=60),
        lambda _: httpx.post(f"{ingest}/v1/events", headers=known, content=b"{" * 100_000, timeout=60),
        upload,
    ]
    with ThreadPoolExecutor(4) as pool:
        return [answer.status_code for answer in pool.map(lambda n: asks[n % len(asks)](n), range(200))]


def test_what_strangers_and_one_customer_send_condemns_no_release(deployed: Deployment) -> None:
    """Two hundred requests that are refused, and every gate of a good release passes all the same."""
    since = time.time()
    ordinary_traffic(deployed)
    assert set(flood(deployed)) == {400, 401, 404, 204}
    ordinary_traffic(deployed)
    verdicts: dict[str, Verdict] = {}

    def passed() -> bool:
        verdicts.update({name: gate.verdict for name, gate in gates(deployed, since).items()})
        assert Verdict.FAIL not in verdicts.values(), verdicts
        assert red(deployed) == set()
        ordinary_traffic(deployed)
        return set(verdicts.values()) == {Verdict.PASS}

    until(passed)


HANDLERS = "src/audit/handlers"
REFUSED = '{"statusCode": %d, "headers": {}, "body": "{}"}'
DEFECTS = {
    "403 for all": (
        "common/directory.py",
        "    caller = directory()",
        '    raise ApiError(403, "no", "no")\n',
        "rehearsals",
    ),
    "400 for all": (
        "ingest/session.py",
        "    return serve(",
        f"    return {REFUSED % 400}\n",
        "ingest rehearsals",
    ),
    "sessions are 500": ("ingest/session.py", "    prefix = ", "    raise TypeError\n", "ingest rehearsals"),
    "cursors are refused": (
        "query/search.py",
        "        try:\n            raw",
        "        cursor = cursor[1:]\n",
        "query rehearsals",
    ),
    "no import": ("query/answering.py", "MAX_PAGES = ", "import nothing\n", "query errors"),
    "all is rejected": (
        "ingest/lines.py",
        "    if len(line) > LONGEST",
        '    return {}, "no"\n',
        "ingest posts",
    ),
    "the processor raises": (
        "ingest/processor.py",
        "    failed, blamed =",
        "    raise TypeError\n",
        "ingest processor",
    ),
    "posts raise now and then": (
        "ingest/keeping.py",
        "    said = at_once(lambda found: _archive",
        "    if landed.content and hash(landed.key) % 2:\n        raise TypeError\n",
        "ingest posts",
    ),
}


@contextmanager
def defective(deployed: Deployment, name: str, before: str, line: str) -> Iterator[None]:
    """The cell with a line added to a file of its code, and without it again; deployed is what has that code."""
    path = deployed.folder / HANDLERS / name
    whole = path.read_text()
    assert whole.count(before) == 1
    folder = str(Path(HANDLERS, name).parent)
    services = [one for one in ("ingest", "query") if folder in deployed.fleet.service(CELL, one).code]
    path.write_text(whole.replace(before, line + before))
    try:
        for service in services:
            deployed.up(f"{CELL}.{service}")
        yield
    finally:
        path.write_text(whole)
        for service in services:
            deployed.up(f"{CELL}.{service}")


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_release_that_fails_its_customers_is_condemned(deployed: Deployment, defect: str) -> None:
    """Whether it answers with an error, refuses what is right, or takes it and does not archive it."""
    name, before, line, gate = DEFECTS[defect]
    with defective(deployed, name, before, line):
        since = time.time()

        def condemned() -> bool:
            ordinary_traffic(deployed)
            found = gates(deployed, since)
            return any(one.verdict is Verdict.FAIL for where, one in found.items() if where.endswith(gate))

        until(condemned, within=90)
