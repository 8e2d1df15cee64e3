"""The contract of SignalSource, held against the fake and against CloudWatch in the sandbox."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any, Protocol

import boto3
import pytest
from tests.health.fake import FakeSource

from cellwave.fleet.model import AlarmSignal, QuantileReference, QuantileSignal, RatioReference, RatioSignal
from cellwave.health.aws import Clients
from cellwave.health.cloudwatch import CloudWatchSource, spread
from cellwave.health.model import AlarmPart, AlarmReading, Reading, SeriesReading, Unreadable
from cellwave.health.ports import Readable, Scope, SignalSource, Wanted
from cellwave.health.yardstick import Limit

ACCOUNTS = count(300000000001)
NAMESPACE = "AWS/ApiGateway"
API = {"ApiId": "a1"}
ERRORS = RatioSignal(namespace=NAMESPACE, bad="5xx", total="Count", dimensions=API, at_most=0.01)
LATENCY = QuantileSignal(namespace=NAMESPACE, metric="Latency", total="Count", dimensions=API, at_most=500)


class World(Protocol):
    """A source under test and the means to make it see something."""

    @property
    def source(self) -> SignalSource:
        """What is under test."""
        ...

    def put(
        self,
        scope: Scope,
        namespace: str,
        metric: str,
        dimensions: dict[str, str],
        points: Iterable[tuple[float, float]],
    ) -> None:
        """Publish (epoch seconds, value) points."""
        ...

    def set_alarm(self, scope: Scope, name: str, state: str) -> None:
        """Create the alarm, or move it to another state."""
        ...

    def cut(self) -> None:
        """Make the source unreachable."""
        ...


class FakeWorld(FakeSource):
    """The fake is its own world."""

    def set_alarm(
        self, scope: Scope, name: str, state: str, since: float = 0.0, parts: tuple[AlarmPart, ...] = ()
    ) -> None:
        """See World: it turns now."""
        super().set_alarm(scope, name, state, since or time.time(), parts)

    @property
    def source(self) -> SignalSource:
        """Itself."""
        return self

    def cut(self) -> None:
        """See World."""
        self.down = "cut off"


class CloudWatchWorld:
    """The real adapter, and plain boto3 to publish what it shall find."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.source = CloudWatchSource(Clients())
        self._patch = patch

    def put(
        self,
        scope: Scope,
        namespace: str,
        metric: str,
        dimensions: dict[str, str],
        points: Iterable[tuple[float, float]],
    ) -> None:
        """See World."""
        named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
        data = [
            {
                "MetricName": metric,
                "Dimensions": named,
                "Timestamp": datetime.fromtimestamp(at, UTC),
                "Value": v,
            }
            for at, v in points
        ]
        _boto(scope).put_metric_data(Namespace=namespace, MetricData=data)

    def set_alarm(self, scope: Scope, name: str, state: str) -> None:
        """See World."""
        if not _boto(scope).describe_alarms(AlarmNames=[name])["MetricAlarms"]:
            _boto(scope).put_metric_alarm(
                AlarmName=name,
                Namespace="Test",
                MetricName=f"none-{name}",
                Statistic="Sum",
                Period=60,
                EvaluationPeriods=1,
                Threshold=1,
                ComparisonOperator="LessThanLowerThreshold",  # one that the sandbox leaves as it is set
            )
        _boto(scope).set_alarm_state(AlarmName=name, StateValue=state, StateReason="set")

    def cut(self) -> None:
        """See World."""
        self._patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        self.source = CloudWatchSource(Clients())


def _boto(scope: Scope) -> Any:
    return boto3.client(
        "cloudwatch",
        region_name=scope.aws_region,
        aws_access_key_id=scope.account,
        aws_secret_access_key="any",
    )


@pytest.fixture(params=["fake", "cloudwatch"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Each source in turn."""
    if request.param == "fake":
        yield FakeWorld()
        return
    request.getfixturevalue("sandbox")
    with pytest.MonkeyPatch.context() as patch:
        yield CloudWatchWorld(patch)


@pytest.fixture
def scope() -> Scope:
    """A cell in an account that no other test uses."""
    account = str(next(ACCOUNTS))
    role = f"arn:aws:iam::{account}:role/cellwave-deploy"
    return Scope(cell="c", service="s", account=account, aws_region="eu-west-1", role=role)


def read(world: World, signal: Readable, scope: Scope, since: float) -> Reading:
    """What the source says of one signal."""
    (reading,) = world.source.read([Wanted(signal=signal, scope=scope, since=since)])
    return reading


def counted(world: World, scope: Scope, since: float) -> tuple[float, float]:
    """How many errors of how many requests."""
    reading = read(world, ERRORS, scope, since)
    assert isinstance(reading, SeriesReading)
    return reading.bad, reading.total


def test_an_alarm_that_does_not_exist_is_missing(world: World, scope: Scope) -> None:
    """A missing alarm is told apart from a silent one."""
    assert read(world, AlarmSignal(name="nowhere"), scope, 0) == AlarmReading(state="MISSING")


@pytest.mark.parametrize("state", ["OK", "ALARM", "INSUFFICIENT_DATA"])
def test_an_alarms_state_is_read_as_it_stands(world: World, scope: Scope, state: str) -> None:
    """All three states come through."""
    world.set_alarm(scope, "red", "OK")
    world.set_alarm(scope, "red", state)
    reading = read(world, AlarmSignal(name="red"), scope, 0)
    assert isinstance(reading, AlarmReading)
    assert reading.state == state


def test_an_alarm_belongs_to_its_account_and_region(world: World, scope: Scope) -> None:
    """The neighbour's alarm of the same name is not seen."""
    world.set_alarm(scope, "red", "ALARM")
    for other in (
        scope.model_copy(update={"aws_region": "us-west-2"}),
        scope.model_copy(
            update={"account": "300000000999", "role": "arn:aws:iam::300000000999:role/cellwave-deploy"}
        ),
    ):
        assert read(world, AlarmSignal(name="red"), other, 0) == AlarmReading(state="MISSING")


def test_an_alarm_that_was_red_and_is_no_more_is_told(world: World, scope: Scope) -> None:
    """Since the moment that is asked for, and not before it; the time is the alarm's own."""
    began = time.time()
    for state in ("OK", "ALARM", "OK"):
        world.set_alarm(scope, "red", state)
    reading = read(world, AlarmSignal(name="red"), scope, began)
    assert isinstance(reading, AlarmReading)
    assert reading.state == "OK"
    (red,) = reading.earlier
    assert int(began) <= red.since <= red.until <= time.time()
    later = read(world, AlarmSignal(name="red"), scope, time.time() + 2)
    assert isinstance(later, AlarmReading)
    assert later.earlier == ()


def test_each_red_of_an_alarm_is_told(world: World, scope: Scope) -> None:
    """That which it shows now is none of the earlier ones; a second look sees what came after the first."""
    began = time.time()
    for state in ("OK", "ALARM", "INSUFFICIENT_DATA", "ALARM"):
        world.set_alarm(scope, "red", state)
    first = read(world, AlarmSignal(name="red"), scope, began)
    world.set_alarm(scope, "red", "OK")
    second = read(world, AlarmSignal(name="red"), scope, began)
    assert isinstance(first, AlarmReading)
    assert isinstance(second, AlarmReading)
    assert (first.state, len(first.earlier)) == ("ALARM", 1)
    assert (second.state, len(second.earlier)) == ("OK", 2)


def test_a_ratio_without_data_has_no_points(world: World, scope: Scope) -> None:
    """Nothing published reads as zero of zero, not as unreadable."""
    assert read(world, ERRORS, scope, time.time() - 30) == SeriesReading()


def test_a_ratio_sums_both_series(world: World, scope: Scope) -> None:
    """Bad and total add up over seconds; zeros are data points too."""
    now = float(int(time.time()))
    world.put(scope, NAMESPACE, "Count", API, [(now - 5, 1), (now - 4, 1), (now - 4, 2)])
    world.put(scope, NAMESPACE, "5xx", API, [(now - 5, 0), (now - 4, 1)])
    assert counted(world, scope, now - 30) == (1, 4)


def test_only_data_newer_than_the_convergence_counts(world: World, scope: Scope) -> None:
    """What the old release did before `since` is not held against the new one."""
    now = float(int(time.time()))
    world.put(scope, NAMESPACE, "Count", API, [(now - 20, 9), (now - 10.5, 9), (now - 5, 1)])
    world.put(scope, NAMESPACE, "5xx", API, [(now - 20, 9), (now - 10.5, 9)])
    world.put(scope, NAMESPACE, "Latency", API, [(now - 20, 9000), (now - 10.5, 9000), (now - 5, 20)])
    assert counted(world, scope, now - 10) == (0, 1)
    reading = read(world, LATENCY, scope, now - 10)
    assert isinstance(reading, SeriesReading)
    assert reading.values == (20,)


def test_dimensions_tell_series_apart(world: World, scope: Scope) -> None:
    """Another API's errors are not this one's."""
    now = float(int(time.time()))
    world.put(scope, NAMESPACE, "Count", API, [(now - 5, 10)])
    world.put(scope, NAMESPACE, "5xx", {"ApiId": "a2"}, [(now - 5, 10)])
    assert counted(world, scope, now - 30) == (0, 10)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_no_data_point(world: World, scope: Scope, value: float) -> None:
    """Neither of what is bad, nor of all."""
    now = float(int(time.time()))
    world.put(scope, NAMESPACE, "Latency", API, [(now - 5, 20), (now - 4, value)])
    world.put(scope, NAMESPACE, "Count", API, [(now - 5, 1)])
    reading = read(world, LATENCY, scope, now - 30)
    assert isinstance(reading, SeriesReading)
    assert reading.values == (20,)
    assert reading.newest == now - 5


def test_many_signals_of_a_look_are_answered_in_their_order(world: World, scope: Scope) -> None:
    """Of several places, alarms and series mixed."""
    now = float(int(time.time()))
    other = scope.model_copy(update={"aws_region": "us-west-2"})
    world.put(scope, NAMESPACE, "Count", API, [(now - 5, 1)])
    world.put(other, NAMESPACE, "Count", API, [(now - 5, 2)])
    world.set_alarm(other, "red", "OK")
    alarm = AlarmSignal(name="red")
    asked = [(ERRORS, other), (alarm, scope), (ERRORS, scope), (alarm, other)]
    readings = world.source.read([Wanted(signal=s, scope=where, since=now - 30) for s, where in asked])
    assert [r.total if isinstance(r, SeriesReading) else getattr(r, "state", "") for r in readings] == [
        2,
        "MISSING",
        1,
        "OK",
    ]


def test_a_quantile_reads_as_many_values_as_there_were_samples(world: World, scope: Scope) -> None:
    """One or two samples a second come through exactly."""
    now = float(int(time.time()))
    points = [(now - 6, 10.0), (now - 5, 200.0), (now - 5, 30.0), (now - 4, 4000.0)]
    world.put(scope, NAMESPACE, "Latency", API, points)
    world.put(scope, NAMESPACE, "Count", API, [(at, 1) for at, _ in points])
    reading = read(world, LATENCY, scope, now - 30)
    assert isinstance(reading, SeriesReading)
    assert sorted(reading.values) == [10.0, 30.0, 200.0, 4000.0]


def test_a_crowded_second_keeps_its_shape(world: World, scope: Scope) -> None:
    """Forty samples in one second keep count and extremes."""
    now = float(int(time.time()))
    values = [20.0] * 30 + [900.0] * 10
    world.put(scope, NAMESPACE, "Latency", API, [(now - 5, v) for v in values])
    world.put(scope, NAMESPACE, "Count", API, [(now - 5, 1) for _ in values])
    reading = read(world, LATENCY, scope, now - 30)
    assert isinstance(reading, SeriesReading)
    assert len(reading.values) == 40
    assert (min(reading.values), max(reading.values)) == (20.0, 900.0)


def test_how_many_are_above_the_limit_is_counted(world: World, scope: Scope) -> None:
    """Of quick requests and a few that time out a line from percentile to percentile has many times as many above."""
    now = float(int(time.time()))
    values = [20.0] * 186 + [LATENCY.at_most] * 10 + [30_000.0] * 4
    world.put(scope, NAMESPACE, "Latency", API, [(now - 5, v) for v in values])
    world.put(scope, NAMESPACE, "Count", API, [(now - 5, 1) for _ in values])
    reading = read(world, LATENCY, scope, now - 30)
    assert isinstance(reading, SeriesReading)
    assert Limit(share=0.01, over=LATENCY.at_most).count(reading.periods) == (4, 200)


def test_references_are_read_like_signals_by_their_own_samples(world: World, scope: Scope) -> None:
    """They name no total: each sample of the metric is a data point."""
    now = float(int(time.time()))
    world.put(scope, "Platform", "Failed", {}, [(now - 5, 0), (now - 5, 1), (now - 4, 0)])
    world.put(scope, "Platform", "Latency", {}, [(now - 5, 70.0), (now - 4, 900.0)])
    failed = RatioReference(namespace="Platform", bad="Failed", dimensions={}, at_most=0.01)
    latency = QuantileReference(namespace="Platform", metric="Latency", dimensions={}, at_most=500)
    readings = [read(world, reference, scope, now - 30) for reference in (failed, latency)]
    first, second = (reading for reading in readings if isinstance(reading, SeriesReading))
    assert [(p.at - now, p.bad, p.total) for p in first.periods] == [(-5, 1, 2), (-4, 0, 1)]
    assert [(p.at - now, p.values) for p in second.periods] == [(-5, (70.0,)), (-4, (900.0,))]


def test_a_source_out_of_reach_is_unreadable(world: World, scope: Scope) -> None:
    """A source that can't be reached says so and raises nothing."""
    world.cut()
    assert isinstance(read(world, AlarmSignal(name="red"), scope, 0), Unreadable)


@pytest.mark.usefixtures("sandbox")
def test_a_composite_alarm_is_read_like_any_other(scope: Scope) -> None:
    """A service's gate is a composite alarm."""
    with pytest.MonkeyPatch.context() as patch:
        world = CloudWatchWorld(patch)
        world.set_alarm(scope, "child", "OK")
        _boto(scope).put_composite_alarm(AlarmName="whole", AlarmRule="ALARM(child)")
        world.set_alarm(scope, "child", "ALARM")
        reading = read(world, AlarmSignal(name="whole"), scope, 0)
    assert isinstance(reading, AlarmReading)
    assert reading.state == "ALARM"
    assert [(part.state, part.metric) for part in reading.parts] == [("ALARM", "none-child")]
    assert reading.since == pytest.approx(time.time(), abs=5)


@pytest.mark.usefixtures("sandbox")
def test_a_composite_alarm_that_was_red_names_what_made_it_red(scope: Scope) -> None:
    """By the histories, though nothing of it is red any more."""
    began = time.time()
    with pytest.MonkeyPatch.context() as patch:
        world = CloudWatchWorld(patch)
        for child in ("one", "other"):
            world.set_alarm(scope, child, "OK")
        _boto(scope).put_composite_alarm(AlarmName="whole", AlarmRule="ALARM(one) OR ALARM(other)")
        for state in ("ALARM", "OK"):
            world.set_alarm(scope, "one", state)
        reading = read(world, AlarmSignal(name="whole"), scope, began)
    assert isinstance(reading, AlarmReading)
    assert (reading.state, reading.parts) == ("OK", ())
    (red,) = reading.earlier
    assert [(part.state, part.metric) for part in red.parts] == [("ALARM", "none-one")]


@pytest.mark.usefixtures("sandbox")
def test_requests_without_a_latency_make_the_quantile_unreadable(scope: Scope) -> None:
    """Requests that hang report no latency; the quick ones alone must not pass for all."""
    now = float(int(time.time()))
    with pytest.MonkeyPatch.context() as patch:
        world = CloudWatchWorld(patch)
        world.put(scope, NAMESPACE, "Count", API, [(now - 5, 40)])
        world.put(scope, NAMESPACE, "Latency", API, [(now - 5, 20)])
        reading = read(world, LATENCY, scope, now - 30)
    assert isinstance(reading, Unreadable)
    assert "1 of 40" in reading.reason


def test_spread_goes_through_what_is_known() -> None:
    """Values are laid between the known percentiles, with the extremes at the ends."""
    assert spread({0.0: 1.0, 0.5: 10.0, 1.0: 100.0}, 5) == [1.0, 5.5, 10.0, 55.0, 100.0]
    assert spread({0.0: 7.0, 1.0: 7.0}, 1) == [7.0]


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("ahead", [7200, -7200])
def test_a_host_whose_clock_is_wrong_sees_what_one_with_the_right_time_sees(
    scope: Scope, ahead: float
) -> None:
    """Two hours ahead or behind: AWS says what the time is. What is read is told by this host's clock."""
    now = float(int(time.time()))
    with pytest.MonkeyPatch.context() as patch:
        world = CloudWatchWorld(patch)
        world.put(scope, NAMESPACE, "Count", API, [(now - 60, 9), (now - 20, 1), (now - 10, 2)])
        world.put(scope, NAMESPACE, "5xx", API, [(now - 60, 9), (now - 20, 0), (now - 10, 1)])
        for state in ("OK", "ALARM"):
            world.set_alarm(scope, "red", state)
        patch.setattr("cellwave.health.cloudwatch.time", lambda: time.time() + ahead)
        series = read(world, ERRORS, scope, now - 30 + ahead)
        alarm = read(world, AlarmSignal(name="red"), scope, now - 30 + ahead)
    assert isinstance(series, SeriesReading)
    assert (series.bad, series.total) == (1, 3)
    assert series.newest == pytest.approx(now - 10 + ahead, abs=3)
    assert isinstance(alarm, AlarmReading)
    assert alarm.since == pytest.approx(now + ahead, abs=5)


@pytest.mark.usefixtures("sandbox")
def test_a_signal_that_can_not_be_asked_for_is_not_held_against_the_others(scope: Scope) -> None:
    """A place is asked for all its signals at once; one that is no metric at all is an error of its own."""
    now = float(int(time.time()))
    with pytest.MonkeyPatch.context() as patch:
        world = CloudWatchWorld(patch)
        world.put(scope, NAMESPACE, "Count", API, [(now - 5, 1)])
        world.set_alarm(scope, "red", "OK")
        broken = ERRORS.model_copy(update={"namespace": ""})
        signals = [ERRORS, broken, LATENCY, AlarmSignal(name=""), AlarmSignal(name="red")]
        asked = [Wanted(signal=signal, scope=scope, since=now - 30) for signal in signals]
        errors, nowhere, _, nameless, alarm = world.source.read(asked)
    assert isinstance(errors, SeriesReading)
    assert errors.total == 1
    assert isinstance(nowhere, Unreadable)
    assert isinstance(nameless, Unreadable)
    assert isinstance(alarm, AlarmReading)
    assert alarm.state == "OK"
