"""Resources without a stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cellwave.fleet.model import Cell, Fleet, Region, Service
from cellwave.project import Project
from cellwave.sandbox.orphans import KINDS, Kind, Orphan, orphans, read_states, unclaimed

from .aws import http_api, session

EAST = Cell(name="east", account="200000000931", aws_region="us-east-1")
WEST = Cell(name="west", account="200000000931", aws_region="us-west-2")
OTHER = Cell(name="other", account="200000000932", aws_region="us-west-2")
FLEET = Fleet(
    role="arn:aws:iam::{account}:role/cellwave-deploy",
    services=(Service(name="api", program="."),),
    regions=(Region(name="us", endpoint="us.example", residency="US", cells=(EAST, WEST, OTHER)),),
)
BY_TYPE = {kind.type: kind for kind in KINDS}
TABLE, BUCKET = BY_TYPE["aws:dynamodb/table:Table"], BY_TYPE["aws:s3/bucket:Bucket"]
QUEUE = BY_TYPE["aws:sqs/queue:Queue"]


def exported(*resources: tuple[Kind, str]) -> dict[str, Any]:
    """A stack's state as `pulumi stack export` prints it."""
    stack = {"type": "pulumi:pulumi:Stack", "urn": "urn:stack"}
    return {"deployment": {"resources": [stack, *({"type": k.type, "id": i} for k, i in resources)]}}


@given(
    st.sets(
        st.tuples(st.sampled_from(["east", "west", "other"]), st.sampled_from(KINDS), st.text(min_size=1))
    )
)
def test_what_the_cells_own_stacks_have_is_no_orphan(listed: set[tuple[str, Kind, str]]) -> None:
    """Everything is claimed when each cell's stack has it, and everything is an orphan without stacks."""
    states = {
        f"{cell}.api": exported(*((kind, i) for c, kind, i in listed if c == cell))
        for cell in ("east", "west", "other")
    }
    assert unclaimed(FLEET, listed, states) == []
    assert len(unclaimed(FLEET, listed, {})) == len(listed)


def test_another_places_stack_claims_nothing() -> None:
    """A table of the same name in another region, or account, is another table; a bucket belongs to its account."""
    listed = [("west", TABLE, "t"), ("other", TABLE, "t"), ("west", BUCKET, "b"), ("other", BUCKET, "b")]
    left = unclaimed(FLEET, listed, {"east.api": exported((TABLE, "t"), (BUCKET, "b"))})
    assert left == [
        Orphan(cell="other", type=TABLE.type, id="t"),
        Orphan(cell="other", type=BUCKET.type, id="b"),
        Orphan(cell="west", type=TABLE.type, id="t"),
    ]


def test_a_queue_is_known_by_its_name() -> None:
    """A queue's URL holds the sandbox's port, which may change."""
    state = exported((QUEUE, "http://127.0.0.1:1000/200000000931/q"))
    assert (
        unclaimed(FLEET, [("east", QUEUE, "http://127.0.0.1:2000/200000000931/q")], {"east.api": state}) == []
    )


def test_states_are_read_from_the_backends_folder(tmp_path: Path) -> None:
    """A checkpoint of a file:// backend counts like an export."""
    folder = tmp_path / ".pulumi" / "stacks" / "audit"
    folder.mkdir(parents=True)
    checkpoint = {"checkpoint": {"latest": exported((TABLE, "t"))["deployment"]}}
    (folder / "east.api.json").write_text(json.dumps(checkpoint))
    (folder / "east.api.json.bak").write_text("no json")
    states = read_states(tmp_path)
    assert list(states) == ["east.api"]
    assert unclaimed(FLEET, [("east", TABLE, "t")], states) == []


def test_every_kind_of_resource_is_listed(sandbox: Project) -> None:
    """In the emulator each type the product uses is found by its physical id; the deploy role is left out."""
    aws = session(OTHER.account, OTHER.aws_region)
    made = {BY_TYPE["aws:apigatewayv2/api:Api"]: http_api(aws, "orphan", "def handler(event, context): ...")}
    made[BY_TYPE["aws:lambda/function:Function"]] = "orphan"
    aws.client("s3").create_bucket(
        Bucket="orphan-932", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    made[BUCKET] = "orphan-932"
    aws.client("dynamodb").create_table(
        TableName="orphan",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    made[TABLE] = "orphan"
    kms = aws.client("kms")
    made[BY_TYPE["aws:kms/key:Key"]] = key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/orphan", TargetKeyId=key)
    made[BY_TYPE["aws:kms/alias:Alias"]] = "alias/orphan"
    kms.schedule_key_deletion(KeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    for role in ("orphan", "cellwave-deploy"):
        aws.client("iam").create_role(RoleName=role, AssumeRolePolicyDocument="{}")
    made[BY_TYPE["aws:iam/role:Role"]] = "orphan"
    made[QUEUE] = aws.client("sqs").create_queue(QueueName="orphan")["QueueUrl"]
    queue_arn = f"arn:aws:sqs:us-west-2:{OTHER.account}:orphan"
    mapping = aws.client("lambda").create_event_source_mapping(
        EventSourceArn=queue_arn, FunctionName="orphan"
    )
    made[BY_TYPE["aws:lambda/eventSourceMapping:EventSourceMapping"]] = mapping["UUID"]
    made[BY_TYPE["aws:sns/topic:Topic"]] = aws.client("sns").create_topic(Name="orphan")["TopicArn"]
    cloudwatch = aws.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="orphan",
        Namespace="n",
        MetricName="m",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
    )
    made[BY_TYPE["aws:cloudwatch/metricAlarm:MetricAlarm"]] = "orphan"
    cloudwatch.put_composite_alarm(AlarmName="all", AlarmRule='ALARM("orphan")')
    made[BY_TYPE["aws:cloudwatch/compositeAlarm:CompositeAlarm"]] = "all"
    aws.client("events").put_rule(Name="orphan", ScheduleExpression="rate(1 day)")
    made[BY_TYPE["aws:cloudwatch/eventRule:EventRule"]] = "orphan"
    for group in ("orphan", "/aws/lambda/orphan"):
        aws.client("logs").create_log_group(logGroupName=group)
    made[BY_TYPE["aws:cloudwatch/logGroup:LogGroup"]] = "orphan"
    aws.client("ssm").put_parameter(Name="/orphan", Value="1", Type="String")
    made[BY_TYPE["aws:ssm/parameter:Parameter"]] = "/orphan"

    expected = {Orphan(cell="other", type=kind.type, id=physical) for kind, physical in made.items()}
    assert set(orphans(FLEET, {})) == expected
    assert {kind.type for kind in KINDS} == {kind.type for kind in made}
    assert orphans(FLEET, {"other.api": exported(*made.items())}) == []
