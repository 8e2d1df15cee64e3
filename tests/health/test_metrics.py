"""Series are read in as few calls as may be, from what is known on, and come to the same as if all were read anew."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest
from botocore.parsers import JSONParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellwave.health.aws import parsers
from cellwave.health.metrics import OVERLAP_SECONDS, Line, Lines, Metrics, Series

NOW = 60 * 20_000_000.0
MANY = 500


def line(metric: str, statistic: str = "Sum") -> Line:
    """A series of a metric without dimensions."""
    return ("N", metric, ()), statistic


ERRORS: Lines = (line("bad"), line("all"))


class CloudWatch:
    """Points that show themselves in time; answers GetMetricData as the service does, and knows what it was asked."""

    def __init__(self) -> None:
        self.now = NOW
        self.points: list[tuple[str, float, float, float]] = []
        self.minutes_only: set[str] = set()
        self.status = "Complete"
        self.calls: list[tuple[int, float]] = []  # queries, and how long ago the call began

    def put(self, metric: str, at: float, value: float, after: float = 0.0) -> None:
        """Publish a point, which is seen so many seconds later."""
        self.points.append((metric, at, value, at + after))

    def __call__(
        self, *, MetricDataQueries: list[Any], StartTime: datetime, EndTime: datetime
    ) -> Iterator[dict[str, Any]]:
        """GetMetricData; two queries a page."""
        assert len(MetricDataQueries) <= MANY
        start, end = StartTime.timestamp(), EndTime.timestamp()
        self.calls.append((len(MetricDataQueries), self.now - start))
        for first in range(0, len(MetricDataQueries), 2):
            found = [self._result(query, start, end) for query in MetricDataQueries[first : first + 2]]
            yield {"MetricDataResults": [result | {"StatusCode": "PartialData"} for result in found]}
            yield {"MetricDataResults": [{**r, "Timestamps": [], "Values": []} for r in found]}

    def _result(self, query: Any, start: float, end: float) -> dict[str, Any]:
        stat, sums = query["MetricStat"], dict[float, float]()
        metric, period = stat["Metric"]["MetricName"], stat["Period"]
        for name, at, value, seen in self.points:
            lost = period < 60 and (name in self.minutes_only or start < self.now - 3 * 3600)
            if name == metric and start <= at < end and seen <= self.now and not lost:
                bucket = at - at % period
                sums[bucket] = sums.get(bucket, 0.0) + (value if stat["Stat"] == "Sum" else 1.0)
        moments = [datetime.fromtimestamp(at, UTC) for at in sums]
        status = self.status
        return {"Id": query["Id"], "StatusCode": status, "Timestamps": moments, "Values": [*sums.values()]}


def look(metrics: Metrics, world: CloudWatch, since: float, lines: Lines = ERRORS) -> dict[str, Series]:
    """What a look sees, by metric."""
    found = metrics.read(world, {lines: since}, world.now)[lines]
    assert not isinstance(found, str), found
    return {one[0][1]: series for one, series in found.items()}


@pytest.fixture
def world() -> CloudWatch:
    """An hour of a request a second."""
    made = CloudWatch()
    for second in range(3600):
        made.put("all", NOW - second - 1, 1.0)
        made.put("bad", NOW - second - 1, 0.0)
    return made


def test_everything_of_a_place_is_asked_in_one_call(world: CloudWatch) -> None:
    """Each series once, whoever wants it, in both resolutions."""
    other: Lines = (line("all"), line("slow", "SampleCount"))
    Metrics().read(world, {ERRORS: NOW - 100, other: NOW - 50}, NOW)
    assert [queries for queries, _ in world.calls] == [2 * 3]


def test_a_call_has_at_most_five_hundred_queries(world: CloudWatch) -> None:
    """That is the most it takes."""
    Metrics().read(world, {(line(f"m{number}"),): NOW - 100 for number in range(600)}, NOW)
    assert [queries for queries, _ in world.calls] == [500, 500, 200]


def test_a_look_reads_what_is_newer_and_the_overlap_again(world: CloudWatch) -> None:
    """In the resolution that has turned out to be the finest; the rest is kept."""
    metrics, since = Metrics(), NOW - 3600
    look(metrics, world, since)
    world.now += 30
    world.put("all", NOW + 10, 5.0)
    assert sum(look(metrics, world, since)["all"].values()) == 3605
    (_, whole), (queries, newer) = world.calls
    assert whole >= 3600
    assert queries == len(ERRORS)
    assert OVERLAP_SECONDS + 30 <= newer <= OVERLAP_SECONDS + 90


def test_a_point_that_comes_late_is_counted(world: CloudWatch) -> None:
    """CloudWatch fills the newest periods late: what was read of them is replaced."""
    metrics, since = Metrics(), NOW - 3600
    world.put("bad", NOW - 120.5, 7.0, after=180)
    assert sum(look(metrics, world, since)["bad"].values()) == 0
    world.now += 90
    assert sum(look(metrics, world, since)["bad"].values()) == 7


def test_a_series_that_falls_silent_is_read_from_its_beginning_until_it_has_caught_up() -> None:
    """CloudWatch itself may be late by more than the overlap: an hour's points come all at once."""
    world, metrics, since = CloudWatch(), Metrics(), NOW - 100
    for second in range(100):
        world.put("all", NOW - 100 + second, 1.0)
        world.put("bad", NOW - 100 + second, 0.0)
    look(metrics, world, since)
    for second in range(60):
        world.put("all", NOW + 60 * second, 1.0, after=3600 - 60 * second)
        world.put("bad", NOW + 60 * second, 0.0, after=3600 - 60 * second)
    for _ in range(60):
        world.now += 60
        seen = look(metrics, world, since)
    assert sum(seen["all"].values()) == 160


def test_a_new_process_comes_to_the_same(world: CloudWatch) -> None:
    """What is kept in memory is what can be read anew."""
    metrics, since = Metrics(), NOW - 1800
    for _ in range(5):
        world.now += 20
        world.put("all", world.now - 1, 1.0)
        world.put("bad", world.now - 1, 0.0)
        kept = look(metrics, world, since)
    assert kept == look(Metrics(), world, since)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # under load it is
@given(
    points=st.lists(
        st.tuples(
            st.sampled_from(["bad", "all"]), st.integers(0, 1200), st.integers(1, 5), st.integers(0, 800)
        ),
        max_size=30,
    ),
    looks=st.lists(st.integers(1, 400), min_size=1, max_size=12),
    minutes_only=st.sets(st.sampled_from(["bad", "all"])),
)
def test_however_often_it_is_looked_it_comes_to_what_one_look_sees(
    points: list[tuple[str, int, int, int]], looks: list[int], minutes_only: set[str]
) -> None:
    """Points that come in any order, up to the overlap late, in seconds or in minutes."""
    world, metrics = CloudWatch(), Metrics()
    world.minutes_only = minutes_only
    for metric, at, value, late in points:
        world.put(metric, NOW + at, float(value), after=late)
    for pause in (*looks, 100):
        world.now += pause
        kept = look(metrics, world, NOW)
        assert kept == look(Metrics(), world, NOW)


def test_series_of_different_resolution_are_counted_by_the_minute() -> None:
    """Errors that are published by the minute count against requests that are published by the second."""
    world = CloudWatch()
    world.minutes_only = {"bad"}
    for second in range(120):
        world.put("all", NOW - 120 + second, 1.0)
    world.put("bad", NOW - 60, 9.0)
    seen = look(Metrics(), world, NOW - 120)
    assert (seen["all"], seen["bad"]) == ({NOW - 120: 60.0, NOW - 60: 60.0}, {NOW - 60: 9.0})


def test_seconds_count_as_long_as_they_are_kept_and_minutes_before() -> None:
    """Of a bake of five hours the first two are known by the minute alone, also to a new process."""
    world, metrics, since = CloudWatch(), Metrics(), NOW
    for minute in range(300):
        world.put("all", NOW + 60 * minute + 0.0, 1.0)
        world.put("bad", NOW + 60 * minute + 0.0, 0.0)
    while world.now < NOW + 5 * 3600:
        world.now += 300
        kept = look(metrics, world, since)
    assert sum(kept["all"].values()) == 300
    anew = look(Metrics(), world, since)
    assert sum(anew["all"].values()) == 300
    assert {at % 60 for at in anew["all"]} == {0.0}


def test_who_did_not_look_for_hours_reads_it_anew() -> None:
    """What was published by the second meanwhile is known by the minute alone."""
    world, metrics = CloudWatch(), Metrics()
    for minute in range(300):
        for metric in ("bad", "all"):
            world.put(metric, NOW + 60.0 * minute, 1.0)
    world.now += 60
    look(metrics, world, NOW)
    world.now += 5 * 3600
    assert sum(look(metrics, world, NOW)["all"].values()) == 300


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_data(world: CloudWatch, value: float) -> None:
    """A period of which one series is unknown is left out of all, or errors would be missing from the requests."""
    world.put("bad", NOW - 10, value)
    seen = look(Metrics(), world, NOW - 100)
    assert len(seen["all"]) == len(seen["bad"]) == 99
    assert NOW - 10 not in seen["all"]


def test_what_is_read_in_part_only_is_not_taken_for_all(world: CloudWatch) -> None:
    """The last page of it must say that it is complete; and the next look reads it anew."""
    metrics = Metrics()
    world.status = "InternalError"
    assert metrics.read(world, {ERRORS: NOW - 100}, NOW)[ERRORS] == "bad: InternalError"
    world.status = "Complete"
    assert sum(look(metrics, world, NOW - 100)["all"].values()) == 100


def test_looks_of_two_rollouts_at_one_place_do_not_disturb_each_other(world: CloudWatch) -> None:
    """Each with a series of its own, hundreds of times at once."""
    metrics = Metrics()

    def often(metric: str) -> int:
        return sum(
            not isinstance(metrics.read(world, {(line(f"{metric}{n}"),): NOW - 9}, NOW), str)
            for n in range(200)
        )

    world.points.clear()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(often, "abcd")) == [200] * 4


def test_an_earlier_moment_is_read_from_its_own_beginning(world: CloudWatch) -> None:
    """Beside a gate that fails the same series is wanted from a little earlier on."""
    metrics = Metrics()
    assert sum(look(metrics, world, NOW - 100)["all"].values()) == 100
    assert sum(look(metrics, world, NOW - 130)["all"].values()) == 130
    assert sum(look(metrics, world, NOW - 100)["all"].values()) == 100


def test_an_answer_is_read_as_the_sdk_reads_it() -> None:
    """Only quicker: lists of numbers, also with holes, and whatever else there is."""
    told = {"Timestamps": [NOW, NOW + 60.5], "Values": [1.0, 2], "Id": "q0", "StatusCode": "Complete"}
    holes = {"Timestamps": [None, NOW], "Values": [None, 2.5], "Messages": [{"Code": "c", "Value": None}]}
    body = json.dumps({"MetricDataResults": [told, holes], "NextToken": "n"}).encode()
    answer = {"body": body, "status_code": 200, "headers": {}}
    operation = (
        botocore.session.get_session().get_service_model("cloudwatch").operation_model("GetMetricData")
    )
    shape = operation.output_shape
    assert shape is not None
    assert parsers().create_parser("json").parse(answer, shape) == JSONParser().parse(answer, shape)
