"""What a look costs: 1,000 cells, each in an account of its own, x ten gates, after bakes of an hour. No AWS is asked.

`python -m bench.looks [CELLS]` looks with the real adapters and the real AWS SDK, whose answers are made up where they
would be sent: so many milliseconds after they were asked, a point a minute, nothing red. Reported are, of the first
look, of one fifteen seconds later and of one by a new process: seconds, processor seconds (without those of making the
answers up), calls by operation, metrics as AWS bills them (a metric and its period, five statistics at a time), and
points received.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import BytesIO
from threading import Lock
from typing import Any, cast

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.session import Session

from cellwave.fleet.model import (
    AlarmSignal,
    Cell,
    Fleet,
    QuantileSignal,
    RatioSignal,
    Region,
    Service,
    Signal,
)
from cellwave.health.ports import Scope
from cellwave.health.read import LiveSource, Watched, counting, read_gates
from cellwave.waves.model import Bake

ANSWERS_AFTER_S = 0.05
BAKE_S = 3600.0
STATISTICS_A_METRIC = 5
DIMENSIONS = {"ApiId": "{cell}"}
ROLE = "arn:aws:iam::{account}:role/deploy"


ROLE_TAKEN = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken>
<Expiration>{until:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""


class Raw(BytesIO):
    """A body, as the SDK reads it."""

    def __init__(self, text: str) -> None:
        super().__init__(text.encode())

    def stream(self, **_: Any) -> Iterator[bytes]:
        """All of it."""
        yield self.read()


class Answers:
    """What AWS would answer, and what it was asked."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.clear()

    def clear(self) -> None:
        """Forget what was asked."""
        self.calls: Counter[str] = Counter()
        self.metrics = self.points = 0
        self.processor = 0.0  # seconds that it took to make the answers up

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """The answer to a request that is about to be sent."""
        time.sleep(ANSWERS_AFTER_S)
        began = time.thread_time()
        asked: Any = request.body
        target: Any = request.headers.get("X-Amz-Target", b"AssumeRole")
        operation = target.decode().rpartition(".")[2]
        if operation == "AssumeRole":
            told = ROLE_TAKEN.format(until=datetime.now(UTC) + timedelta(hours=1))
        elif operation == "GetMetricData":
            told = json.dumps(self._data(json.loads(asked)))
        else:
            told = json.dumps(_alarms(json.loads(asked)))
        with self._lock:
            self.calls[operation] += 1
            self.processor += time.thread_time() - began
        date = {"Date": format_datetime(datetime.now(UTC), usegmt=True)}
        return AWSResponse(request.url, 200, cast(Any, date), Raw(told))

    def _data(self, asked: Any) -> Any:
        statistics: Counter[str] = Counter()
        results = []
        for query in asked["MetricDataQueries"]:
            stat = query["MetricStat"]
            statistics[f"{stat['Metric']['MetricName']} {stat['Period']}"] += 1
            begin = int(asked["StartTime"])
            moments = list(range(begin - begin % 60, int(asked["EndTime"]) - 120, 60))
            moments = [] if stat["Period"] == 1 else moments
            value = {"S": 100.0, "P": 0.0}.get(stat["Stat"][0], 20.0)  # of sums and counts; of ranks
            value = 0.0 if stat["Metric"]["MetricName"].startswith("bad") else value
            results.append(
                {
                    "Id": query["Id"],
                    "Label": "any",
                    "StatusCode": "Complete",
                    "Timestamps": moments,
                    "Values": [value] * len(moments),
                }
            )
        with self._lock:
            self.metrics += sum(-(-count // STATISTICS_A_METRIC) for count in statistics.values())
            self.points += sum(len(result["Values"]) for result in results)
        return {"MetricDataResults": results}


def _alarms(asked: Any) -> Any:
    since = time.time() - 7 * 86400
    alarms = [
        {
            "AlarmName": name,
            "StateValue": "OK",
            "StateUpdatedTimestamp": since,
            "StateTransitionedTimestamp": since,
            "AlarmRule": "ALARM(child)",
        }
        for name in asked["AlarmNames"]
    ]
    return {"MetricAlarms": [], "CompositeAlarms": alarms}


def fleet(cells: int) -> Fleet:
    """So many cells with one service: an alarm, seven ratios and two latencies."""
    signals: dict[str, Signal] = {"alarm": AlarmSignal(name="{cell}")}
    for number in range(7):
        signals[f"ratio-{number}"] = RatioSignal(
            namespace="AWS/ApiGateway",
            bad=f"bad{number}",
            total=f"all{number}",
            dimensions=DIMENSIONS,
            at_most=0.01,
        )
    for number in range(2):
        signals[f"latency-{number}"] = QuantileSignal(
            namespace="AWS/ApiGateway",
            metric=f"latency{number}",
            total=f"all{number}",
            dimensions=DIMENSIONS,
            at_most=500,
        )
    made = tuple(
        Cell(name=f"c{number}", account=f"{number:012}", aws_region="eu-west-1") for number in range(cells)
    )
    service = Service(name="web", program=".", signals=signals)
    region = Region(name="eu", endpoint="eu.example", residency="EU", cells=made)
    return Fleet(role=ROLE, services=(service,), regions=(region,))


def main(cells: int) -> None:
    """Look, and print what it took."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    os.environ.pop("AWS_ENDPOINT_URL", None)
    answers, made = Answers(), fleet(cells)
    register: Any = Session._register_builtin_handlers  # type: ignore[attr-defined]

    def answered(session: Any, events: Any) -> None:
        register(session, events)
        events.register("before-send", answers)

    Session._register_builtin_handlers = answered  # type: ignore[attr-defined]
    now = time.time()
    places = [(cell.name, "web") for cell in made.cells]
    watched = [Watched(scope=Scope.of(made, *place), since=now - BAKE_S) for place in places]
    gates, bake = counting(made, places), Bake(seconds=BAKE_S, samples=100, limit=BAKE_S)
    source = LiveSource()
    print(f"{cells} cells x 10 gates after an hour; every answer takes {ANSWERS_AFTER_S * 1000:g} ms")
    for name in ("the first look", "the next look", "and the next", "a new process"):
        source = LiveSource() if name == "a new process" else source
        answers.clear()
        began, processor = time.monotonic(), time.process_time()
        results = read_gates(made, watched, source, bake, now, gates=gates, now=time.time())
        took, used = time.monotonic() - began, time.process_time() - processor - answers.processor
        said = Counter(str(result.verdict) for result in results)
        print(
            f"{name}: {took:.1f} s, {used:.1f} s of processor, {dict(answers.calls)}, "
            f"{answers.metrics} metrics, {answers.points} points; {dict(said)}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"at most {peak:.0f} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
