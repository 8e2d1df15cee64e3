"""The sandbox tells how slow it is itself."""

from __future__ import annotations

import time

import pytest

from cellwave.fleet.model import QuantileReference, RatioReference
from cellwave.health.cloudwatch import CloudWatchSource
from cellwave.health.model import SeriesReading
from cellwave.health.ports import Scope, Wanted
from cellwave.project import Project
from cellwave.sandbox.reference import NAMESPACE, corrected

from .aws import session, until


def test_a_slow_answer_stands_for_those_that_it_kept_from_being_asked() -> None:
    """Asked twice a second, an answer after 1.2 s is met by three questions."""
    assert list(corrected(20)) == [20]
    assert [round(value) for value in corrected(1200)] == [1200, 700, 200]


def test_its_answer_time_is_published_wherever_there_is_an_alarm(sandbox: Project) -> None:
    """Where something is deployed, a release can be compared with the platform itself."""
    account = "200000000911"
    began = time.time() - 1
    session(account, "eu-west-1").client("cloudwatch").put_metric_alarm(
        AlarmName="any",
        Namespace="Test",
        MetricName="none",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    role = f"arn:aws:iam::{account}:role/cellwave-deploy"
    scope = Scope(cell="c", service="s", account=account, aws_region="eu-west-1", role=role)
    latency = QuantileReference(namespace=NAMESPACE, metric="Latency", dimensions={}, at_most=500)
    failed = RatioReference(namespace=NAMESPACE, bad="Failed", dimensions={}, at_most=0.01)

    source = CloudWatchSource()

    def read(reference: QuantileReference | RatioReference) -> SeriesReading:
        (reading,) = source.read([Wanted(signal=reference, scope=scope, since=began)])
        assert isinstance(reading, SeriesReading), reading
        return reading

    until("five answers", lambda: read(failed).total >= 5, within_s=60)
    assert read(failed).bad == 0
    assert len(read(latency).values) >= 5
    assert min(read(latency).values) == pytest.approx(50, abs=49)
