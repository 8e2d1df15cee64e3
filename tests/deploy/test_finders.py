"""Every type whose id AWS makes up is found again by what it was made with, and nothing else is."""

from __future__ import annotations

import io
import os
import uuid
import zipfile
from collections.abc import Mapping
from typing import Any

import boto3
import pytest

from cellwave.deploy.finders import NAMED, SEARCHED, search, session_of
from tests.deploy.world import ACCOUNT

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("sandbox")]

NAME = f"find-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def aws() -> boto3.Session:
    """The test's account."""
    return boto3.Session(ACCOUNT, "secret", region_name="us-east-1")


def function(aws: boto3.Session, name: str) -> str:
    """A Lambda function; its ARN."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "def handler(event, context): return {}")
    made = aws.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=f"arn:aws:iam::{ACCOUNT}:role/x",
        Handler="app.handler",
        Code={"ZipFile": code.getvalue()},
        Publish=True,
    )
    return made["FunctionArn"]


def assert_found(aws: boto3.Session, kind: str, inputs: Mapping[str, Any], identity: str, other: str) -> None:
    """The resource is found by its inputs, and not by another value of the telling input."""
    assert search(kind, aws, inputs) == [identity]
    assert search(kind, aws, {**inputs, other: f"{NAME}-another"}) == []


def test_queues_topics_and_keys(aws: boto3.Session) -> None:
    """A queue and a topic are found by name, a key by description and tags."""
    queue = aws.client("sqs").create_queue(QueueName=NAME)["QueueUrl"]
    assert_found(aws, "aws:sqs/queue:Queue", {"name": NAME}, queue, "name")
    topic = aws.client("sns").create_topic(Name=NAME)["TopicArn"]
    assert_found(aws, "aws:sns/topic:Topic", {"name": NAME}, topic, "name")
    made = aws.client("kms").create_key(Description=NAME, Tags=[{"TagKey": "cell", "TagValue": "a"}])
    key = made["KeyMetadata"]["KeyId"]
    inputs = {"description": NAME, "tags": {"cell": "a"}}
    assert_found(aws, "aws:kms/key:Key", inputs, key, "description")
    assert search("aws:kms/key:Key", aws, {**inputs, "tags": {"cell": "b"}}) == []
    aws.client("kms").schedule_key_deletion(KeyId=key)
    assert search("aws:kms/key:Key", aws, inputs) == []


def test_an_api_and_its_parts(aws: boto3.Session) -> None:
    """An API is found by name, an integration by its URI, a route by its key."""
    gateway = aws.client("apigatewayv2")
    api = gateway.create_api(Name=NAME, ProtocolType="HTTP")["ApiId"]
    assert_found(aws, "aws:apigatewayv2/api:Api", {"name": NAME}, api, "name")
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=f"uri:{NAME}", PayloadFormatVersion="2.0"
    )["IntegrationId"]
    inputs = {"apiId": api, "integrationUri": f"uri:{NAME}"}
    assert_found(aws, "aws:apigatewayv2/integration:Integration", inputs, integration, "integrationUri")
    route = gateway.create_route(ApiId=api, RouteKey="GET /x")["RouteId"]
    assert_found(aws, "aws:apigatewayv2/route:Route", {"apiId": api, "routeKey": "GET /x"}, route, "routeKey")


def test_a_function_s_alias_and_mapping(aws: boto3.Session) -> None:
    """An alias is found by function and name, an event source mapping by function and source."""
    function(aws, NAME)
    lambdas = aws.client("lambda")
    alias = lambdas.create_alias(FunctionName=NAME, Name="live", FunctionVersion="1")["AliasArn"]
    assert_found(aws, "aws:lambda/alias:Alias", {"functionName": NAME, "name": "live"}, alias, "name")
    url = aws.client("sqs").create_queue(QueueName=f"{NAME}-source")["QueueUrl"]
    source = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    arn = source["Attributes"]["QueueArn"]
    mapping = lambdas.create_event_source_mapping(FunctionName=NAME, EventSourceArn=arn)["UUID"]
    inputs = {"functionName": NAME, "eventSourceArn": arn}
    assert search("aws:lambda/eventSourceMapping:EventSourceMapping", aws, inputs) == [mapping]
    elsewhere = {**inputs, "eventSourceArn": f"{arn}-another"}
    assert search("aws:lambda/eventSourceMapping:EventSourceMapping", aws, elsewhere) == []


def test_a_provider_s_session_is_in_its_account() -> None:
    """The provider's region and roles lead into the cell's account, as its resources were made."""
    role = f"arn:aws:iam::{ACCOUNT}:role/cellwave-deploy"
    session = session_of({"region": "eu-west-1", "assumeRoles": f'[{{"roleArn": "{role}"}}]'}, os.environ)
    assert session.client("sts").get_caller_identity()["Account"] == ACCOUNT
    assert session.region_name == "eu-west-1"


def test_a_type_without_a_finder_is_said(aws: boto3.Session) -> None:
    """Nothing is guessed about a type that no finder knows."""
    with pytest.raises(KeyError):
        search("aws:ec2/instance:Instance", aws, {})
    assert not NAMED.keys() & SEARCHED.keys()
