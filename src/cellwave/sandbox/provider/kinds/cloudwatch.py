"""CloudWatch alarms: metric and composite."""

from __future__ import annotations

from typing import Any

from cellwave.sandbox.provider import tags
from cellwave.sandbox.provider.aws import Aws
from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.values import Props

_METRIC_NAMES = {"name": "AlarmName", "arn": "AlarmArn"}


def _query(item: Props) -> Props:
    """A metric query as the API takes it: what the metric is and how it is summed up are apart there."""
    query = {key: value for key, value in item.items() if key != "metric"}
    if metric := item.get("metric"):
        query["metricStat"] = {"metric": metric, "period": metric["period"], "stat": metric["stat"]}
        query["metricStat"] |= {"unit": metric["unit"]} if "unit" in metric else {}
    return query


def _of_query(item: Any) -> Any:
    found = dict(item)
    if stat := found.pop("MetricStat", None):
        found["Metric"] = {**stat["Metric"], **{key: stat[key] for key in stat if key != "Metric"}}
    return found


def _put_metric(aws: Aws, name: str, new: Props, old: Props) -> None:
    queries = {"metrics": [_query(item) for item in new["metricQueries"]]} if "metricQueries" in new else {}
    aws.call("cloudwatch", "put_metric_alarm", {**new, **queries}, _METRIC_NAMES)


def _read_alarm(kind: str, answer: str, aws: Aws, name: str) -> Any:
    found = aws.call("cloudwatch", "describe_alarms", AlarmNames=[name], AlarmTypes=[kind]).get(answer, [])
    return {key: value for key, value in found[0].items() if value not in ([], "")} if found else None


def _read_metric(aws: Aws, name: str, prior: Props) -> Props | None:
    found = _read_alarm("MetricAlarm", "MetricAlarms", aws, name)
    if found and "ExtendedStatistic" in found:
        found.pop("Statistic", None)  # an alarm has one of the two; the emulator says both
    if found and "Metrics" in found:
        found["MetricQueries"] = [_of_query(item) for item in found["Metrics"]]
    return found and METRIC.props(found)


def _delete(aws: Aws, name: str, state: Props) -> None:
    aws.call("cloudwatch", "delete_alarms", AlarmNames=[name])


METRIC = ResourceType(
    "aws:cloudwatch/metricAlarm:MetricAlarm",
    inputs="name actionsEnabled alarmActions alarmDescription comparisonOperator datapointsToAlarm dimensions "
    "evaluateLowSampleCountPercentiles evaluationPeriods extendedStatistic insufficientDataActions metricName "
    "metricQueries namespace okActions period statistic threshold thresholdMetricId treatMissingData unit tags",
    outputs="arn",
    filled="evaluateLowSampleCountPercentiles",
    replaces="name",
    name="name",
    defaults={"actionsEnabled": True, "treatMissingData": "missing"},
    tags=tags.CLOUDWATCH,
    upsert=lambda aws, new: new["name"],
    rename=_METRIC_NAMES,
    read=_read_metric,
    update=_put_metric,
    delete=_delete,
)


def _put_composite(aws: Aws, name: str, new: Props, old: Props) -> None:
    aws.call("cloudwatch", "put_composite_alarm", new)


def _read_composite(aws: Aws, name: str, prior: Props) -> Props | None:
    found = _read_alarm("CompositeAlarm", "CompositeAlarms", aws, name)
    return found and COMPOSITE.props(found)


COMPOSITE = ResourceType(
    "aws:cloudwatch/compositeAlarm:CompositeAlarm",
    inputs="alarmName alarmRule actionsEnabled alarmActions alarmDescription insufficientDataActions okActions tags",
    outputs="arn",
    replaces="alarmName actionsEnabled",
    name="alarmName",
    defaults={"actionsEnabled": True},
    tags=tags.CLOUDWATCH,
    upsert=lambda aws, new: new["alarmName"],
    rename={"arn": "AlarmArn"},
    read=_read_composite,
    update=_put_composite,
    delete=_delete,
)

TYPES = (METRIC, COMPOSITE)
