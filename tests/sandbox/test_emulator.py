"""Where the emulator is made to behave as AWS does."""

from __future__ import annotations

import json
import time
from pathlib import Path

import boto3
import pytest

from cellwave.project import Project
from cellwave.sandbox import emulator

from .aws import session, until, zipped

NAMESPACE = "AWS/ApiGateway"


def put_alarm(aws: boto3.Session, name: str, api: str) -> None:
    """An alarm on 5xx of one API, as the product has them."""
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace=NAMESPACE,
        MetricName="5xx",
        Dimensions=[{"Name": "ApiId", "Value": api}],
        Statistic="Sum",
        Period=10,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )


def state_of(aws: boto3.Session, name: str) -> str:
    """An alarm's state."""
    found = aws.client("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm"])
    return str(found["MetricAlarms"][0]["StateValue"])


def test_an_alarm_heeds_its_dimensions_and_recovers(sandbox: Project) -> None:
    """One API's errors redden that API's alarm alone, within seconds; without new data it turns green again."""
    aws = session("200000000901", "eu-west-1")
    put_alarm(aws, "one", "one")
    put_alarm(aws, "two", "two")
    until("green without data", lambda: state_of(aws, "one") == state_of(aws, "two") == "OK", within_s=60)
    aws.client("cloudwatch").put_metric_data(
        Namespace=NAMESPACE,
        MetricData=[
            {
                "MetricName": "5xx",
                "Dimensions": [{"Name": "ApiId", "Value": "one"}],
                "Values": [1.0],
                "Counts": [2.0],
            }
        ],
    )
    until("red", lambda: state_of(aws, "one") == "ALARM", within_s=60)
    assert state_of(aws, "two") == "OK"
    until("green again", lambda: state_of(aws, "one") == "OK", within_s=60)


@pytest.mark.parametrize(
    ("ages", "treat", "expected"),
    [
        ([1, 11, 21], "notBreaching", "ALARM"),
        ([1, 11], "notBreaching", "OK"),
        ([1, 11], "breaching", "ALARM"),
        ([], "missing", "INSUFFICIENT_DATA"),
        ([], "breaching", "ALARM"),
        ([], "ignore", "OK"),
        ([31], "notBreaching", "OK"),
    ],
)
def test_periods_are_counted_one_by_one(ages: list[int], treat: str, expected: str) -> None:
    """Three periods of ten seconds must all breach; what is missing counts as the alarm says."""
    alarm = {
        "Period": 10,
        "EvaluationPeriods": 3,
        "Statistic": "Sum",
        "Threshold": 0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": treat,
        "StateValue": "OK",
    }
    now = time.time()
    points = [{"Timestamp": now - age, "Value": 1.0} for age in ages]
    assert emulator.judge(alarm, points, now)[0] == expected


def test_an_alarm_that_is_set_to_the_state_it_has_does_not_turn(sandbox: Project) -> None:
    """When it turned is told beside when it was last set, and is in its history; a second time is none."""
    aws = session("200000000907", "eu-west-1").client("cloudwatch")
    aws.put_metric_alarm(
        AlarmName="turns",
        Namespace="Test",
        MetricName="none",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="LessThanLowerThreshold",  # one that the sandbox leaves as it is set
    )
    aws.set_alarm_state(AlarmName="turns", StateValue="ALARM", StateReason="set")
    (turned,) = aws.describe_alarms(AlarmNames=["turns"])["MetricAlarms"]
    until("the next second", lambda: time.time() - 1 > turned["StateUpdatedTimestamp"].timestamp())
    aws.set_alarm_state(AlarmName="turns", StateValue="ALARM", StateReason="set again")
    (again,) = aws.describe_alarms(AlarmNames=["turns"])["MetricAlarms"]
    assert again["StateTransitionedTimestamp"] == turned["StateTransitionedTimestamp"]
    assert again["StateUpdatedTimestamp"] > turned["StateUpdatedTimestamp"]
    told = aws.describe_alarm_history(AlarmName="turns", HistoryItemType="StateUpdate")["AlarmHistoryItems"]
    red = [item["Timestamp"] for item in told if item["HistorySummary"].endswith("to ALARM")]
    assert red == [turned["StateTransitionedTimestamp"]]


def test_a_lambda_sees_its_zip_and_boto3_only(sandbox: Project) -> None:
    """Nothing that is installed for cellwave leaks into a handler, not even a package of the zip's own name."""
    aws = session("200000000902", "eu-west-1")
    source = """
import importlib.util, os
import boto3
import audit.handlers.mine as mine
def handler(event, context):
    return {
        "zip": mine.__file__.startswith(os.environ["LAMBDA_TASK_ROOT"]),
        "cellwave": importlib.util.find_spec("cellwave") is not None,
        "httpx": importlib.util.find_spec("httpx") is not None,
        "account": boto3.client("sts").get_caller_identity()["Account"],
        "token": "AWS_SESSION_TOKEN" in os.environ,
    }
"""
    aws.client("lambda").create_function(
        FunctionName="look",
        Runtime="python3.12",
        Role="arn:aws:iam::200000000902:role/any",
        Handler="product.handler",
        Code={"ZipFile": zipped({"product.py": source, "audit/handlers/mine.py": ""})},
    )
    seen = json.load(aws.client("lambda").invoke(FunctionName="look")["Payload"])
    assert seen == {"zip": True, "cellwave": False, "httpx": False, "account": "200000000902", "token": False}


def test_an_assumed_role_acts_in_its_own_account(sandbox: Project) -> None:
    """AssumeRole from the control account lands in the cell's account, whether or not the role was made."""
    assumed = boto3.client("sts").assume_role(
        RoleArn="arn:aws:iam::200000000903:role/cellwave-deploy", RoleSessionName="test"
    )["Credentials"]
    cell = boto3.Session(assumed["AccessKeyId"], assumed["SecretAccessKey"], assumed["SessionToken"])
    assert cell.client("sts").get_caller_identity()["Account"] == "200000000903"


def test_the_lambda_python_is_a_plain_script(tmp_path: Path) -> None:
    """Its folder may be made anew over an old one."""
    for _ in range(2):
        script = emulator.lambda_python(tmp_path)
    assert script.stat().st_mode & 0o100
    assert (tmp_path / "lambda-packages" / "boto3").is_dir()


def test_embedded_metrics_of_a_log_are_found() -> None:
    """AWS reads them from a Lambda's log lines, with and without a prefix; anything else is no metric."""
    line = json.dumps(
        {
            "_aws": {
                "Timestamp": 1,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "Audit",
                        "Dimensions": [[], ["Cell"]],
                        "Metrics": [{"Name": "Rejected", "Unit": "Count"}],
                    }
                ],
            },
            "Cell": "one",
            "Rejected": 3,
        }
    )
    log = f'plain text\n{line}\n2026 INFO {line}\n{{"_aws": broken\n{{"_aws": {{}}}}'
    found = emulator.embedded_metrics(log)
    assert found[:2] == [
        ("Audit", "Rejected", 3.0, "Count", {}),
        ("Audit", "Rejected", 3.0, "Count", {"Cell": "one"}),
    ]
    assert len(found) == 4
