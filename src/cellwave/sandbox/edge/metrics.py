"""AWS/ApiGateway as AWS publishes it for an HTTP API: Count, 4xx, 5xx, Latency with the dimension ApiId."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

NAMESPACE = "AWS/ApiGateway"
PUBLISH_EVERY_S = 1.0
VALUES_PER_DATUM = 150
DATA_PER_CALL = 500

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Api:
    """An HTTP API and where it lives."""

    account: str
    region: str
    id: str


@dataclass
class Tally:
    """What one API answered within one second. Latencies are milliseconds, rounded to a tenth."""

    count: int = 0
    client_errors: int = 0
    server_errors: int = 0
    latencies: Counter[float] = field(default_factory=Counter)


class Meter:
    """Counts answers, and publishes them about once a second into the account and region of each API."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._tallies: defaultdict[tuple[Api, int], Tally] = defaultdict(Tally)
        self._clients: dict[tuple[str, str], CloudWatchClient] = {}

    def record(self, api: Api, status: int, latency_ms: float) -> None:
        """Count one answer, at the time it was given."""
        tally = self._tallies[api, int(time.time())]
        tally.count += 1
        tally.client_errors += 400 <= status < 500
        tally.server_errors += status >= 500
        tally.latencies[round(latency_ms, 1)] += 1

    async def publish_forever(self) -> None:
        """Publish until cancelled."""
        while True:
            await asyncio.sleep(PUBLISH_EVERY_S)
            await self.publish()

    async def publish(self) -> None:
        """Deliver what was counted since the last time; what can't be delivered is lost, as samples are."""
        tallies, self._tallies = self._tallies, defaultdict(Tally)
        places: defaultdict[tuple[str, str], dict[tuple[Api, int], Tally]] = defaultdict(dict)
        for (api, second), tally in tallies.items():
            places[api.account, api.region][api, second] = tally
        for place, counted in places.items():
            try:
                await asyncio.to_thread(self._put, place, counted)
            except Exception as error:  # noqa: BLE001 - whatever the emulator's trouble is, traffic must go on
                log.warning("metrics of %s not published: %s", place, error)

    def _put(self, place: tuple[str, str], counted: Mapping[tuple[Api, int], Tally]) -> None:
        if place not in self._clients:
            account, region = place
            self._clients[place] = boto3.client(
                "cloudwatch",
                region_name=region,
                aws_access_key_id=account,
                aws_secret_access_key=self._secret,
            )
        data = list(metric_data(counted))
        for start in range(0, len(data), DATA_PER_CALL):
            self._clients[place].put_metric_data(
                Namespace=NAMESPACE, MetricData=data[start : start + DATA_PER_CALL]
            )


def metric_data(counted: Mapping[tuple[Api, int], Tally]) -> Iterator[Any]:
    """The data of PutMetricData.

    As on AWS, every request is a sample of 4xx and 5xx (0 or 1): their Sum is the number of errors, their Average
    the error rate.
    """
    for (api, second), tally in counted.items():
        fine = tally.count - tally.client_errors
        yield _datum(api, second, "Count", "Count", [(1.0, tally.count)])
        yield _datum(api, second, "4xx", "Count", [(1.0, tally.client_errors), (0.0, fine)])
        fine = tally.count - tally.server_errors
        yield _datum(api, second, "5xx", "Count", [(1.0, tally.server_errors), (0.0, fine)])
        latencies = list(tally.latencies.items())
        for start in range(0, len(latencies), VALUES_PER_DATUM):
            yield _datum(api, second, "Latency", "Milliseconds", latencies[start : start + VALUES_PER_DATUM])


def _datum(api: Api, second: int, name: str, unit: str, samples: list[tuple[float, int]]) -> dict[str, Any]:
    seen = [(value, count) for value, count in samples if count]
    return {
        "MetricName": name,
        "Dimensions": [{"Name": "ApiId", "Value": api.id}],
        "Timestamp": datetime.fromtimestamp(second, UTC),
        "Unit": unit,
        "Values": [value for value, _ in seen],
        "Counts": [float(count) for _, count in seen],
    }
