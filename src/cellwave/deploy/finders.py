"""Find what an interrupted create left: the id of a resource, by its type and the inputs it was made with.

Most ids follow from the inputs; whether the resource is really there is then seen by the refresh that comes after.
Where AWS makes the id up, its own lists are searched. Ids are those of the AWS provider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from cellwave.states import nested

# An endpoint that does not answer is given up, so that the attempt ends in words.
PATIENCE = Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard", "max_attempts": 3})

Inputs = Mapping[str, Any]
Session = boto3.Session
Search = Callable[[Session, Inputs], list[str]]


def _by(*keys: str) -> Callable[[Inputs], str]:
    """The id made of these inputs, joined by a colon."""
    return lambda inputs: ":".join(str(inputs[key]) for key in keys)


NAMED: dict[str, Callable[[Inputs], str]] = {
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": _by("alarmName"),
    "aws:cloudwatch/eventRule:EventRule": _by("name"),
    "aws:cloudwatch/eventTarget:EventTarget": lambda i: f"{i['rule']}-{i['targetId']}",
    "aws:cloudwatch/logGroup:LogGroup": _by("name"),
    "aws:cloudwatch/metricAlarm:MetricAlarm": _by("name"),
    "aws:apigatewayv2/stage:Stage": _by("name"),
    "aws:dynamodb/table:Table": _by("name"),
    "aws:iam/role:Role": _by("name"),
    "aws:iam/rolePolicy:RolePolicy": _by("role", "name"),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": lambda i: f"{i['role']}/{i['policyArn']}",
    "aws:kms/alias:Alias": _by("name"),
    "aws:lambda/function:Function": _by("name"),
    # One that may not have been made counts as made: what it should have brought about is another's to prove.
    "aws:lambda/invocation:Invocation": _by("functionName", "qualifier"),
    "aws:lambda/permission:Permission": _by("statementId"),
    "aws:s3/bucket:Bucket": _by("bucket"),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _by("bucket"),
    "aws:s3/bucketNotification:BucketNotification": _by("bucket"),
    "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration": _by("bucket"),
    "aws:s3/bucketObjectv2:BucketObjectv2": lambda i: f"{i['bucket']}/{i['key']}",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _by("bucket"),
    "aws:s3/bucketPolicy:BucketPolicy": _by("bucket"),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _by("bucket"),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": _by("bucket"),
    "aws:s3/bucketVersioning:BucketVersioning": _by("bucket"),
    "aws:sqs/queuePolicy:QueuePolicy": _by("queueUrl"),
    "aws:sqs/redrivePolicy:RedrivePolicy": _by("queueUrl"),
    "aws:ssm/parameter:Parameter": _by("name"),
}


def _pages(client: Any, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    yield from client.get_paginator(operation).paginate(**arguments)


def _apis(session: Session, inputs: Inputs) -> list[str]:
    pages = _pages(session.client("apigatewayv2"), "get_apis")
    return [a["ApiId"] for page in pages for a in page["Items"] if a["Name"] == inputs["name"]]


def _integrations(session: Session, inputs: Inputs) -> list[str]:
    pages = _pages(session.client("apigatewayv2"), "get_integrations", ApiId=inputs["apiId"])
    wanted = inputs.get("integrationUri")
    return [i["IntegrationId"] for page in pages for i in page["Items"] if i.get("IntegrationUri") == wanted]


def _routes(session: Session, inputs: Inputs) -> list[str]:
    pages = _pages(session.client("apigatewayv2"), "get_routes", ApiId=inputs["apiId"])
    return [r["RouteId"] for page in pages for r in page["Items"] if r["RouteKey"] == inputs["routeKey"]]


def _keys(session: Session, inputs: Inputs) -> list[str]:
    """Keys have no name: description and tags together tell them apart."""
    kms = session.client("kms")
    found = []
    for page in _pages(session.client("kms"), "list_keys"):
        for key in page["Keys"]:
            facts = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
            if facts["KeyState"] == "PendingDeletion" or facts.get("Description") != inputs.get(
                "description"
            ):
                continue
            tags = kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]
            if (inputs.get("tags") or {}).items() <= {t["TagKey"]: t["TagValue"] for t in tags}.items():
                found.append(key["KeyId"])
    return found


def _mappings(session: Session, inputs: Inputs) -> list[str]:
    wanted = {"FunctionName": inputs["functionName"], "EventSourceArn": inputs["eventSourceArn"]}
    pages = _pages(session.client("lambda"), "list_event_source_mappings", **wanted)
    return [m["UUID"] for page in pages for m in page["EventSourceMappings"]]


def _function_aliases(session: Session, inputs: Inputs) -> list[str]:
    function = str(inputs["functionName"])
    found = session.client("lambda").get_alias(FunctionName=function, Name=inputs["name"])
    return [found["AliasArn"]]


def _queues(session: Session, inputs: Inputs) -> list[str]:
    return [session.client("sqs").get_queue_url(QueueName=inputs["name"])["QueueUrl"]]


def _topics(session: Session, inputs: Inputs) -> list[str]:
    pages = _pages(session.client("sns"), "list_topics")
    arns = [topic["TopicArn"] for page in pages for topic in page["Topics"]]
    return [arn for arn in arns if arn.rsplit(":", 1)[-1] == inputs["name"]]


SEARCHED: dict[str, Search] = {
    "aws:apigatewayv2/api:Api": _apis,
    "aws:apigatewayv2/integration:Integration": _integrations,
    "aws:apigatewayv2/route:Route": _routes,
    "aws:kms/key:Key": _keys,
    "aws:lambda/alias:Alias": _function_aliases,
    "aws:lambda/eventSourceMapping:EventSourceMapping": _mappings,
    "aws:sns/topic:Topic": _topics,
    "aws:sqs/queue:Queue": _queues,
}


def search(kind: str, session: Session, inputs: Inputs) -> list[str]:
    """The ids under which resources with these inputs are there; KeyError for a type that no finder knows."""
    if kind in NAMED:
        return [NAMED[kind](inputs)]
    try:
        return SEARCHED[kind](session, inputs)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if "NotFound" in code or "NonExistent" in code:
            return []
        raise


def session_of(provider: Inputs, environment: Mapping[str, str]) -> Session:
    """A session in the account and region that a provider's inputs name, from the environment's credentials."""
    region = provider.get("region") or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    session = boto3.Session(
        botocore_session=_patient(),
        aws_access_key_id=provider.get("accessKey") or environment.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=provider.get("secretKey") or environment.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=provider.get("token") or environment.get("AWS_SESSION_TOKEN"),
        profile_name=provider.get("profile"),
        region_name=region,
    )
    for role in nested(provider.get("assumeRoles")) or []:
        extra = {"ExternalId": role["externalId"]} if role.get("externalId") else {}
        answer = session.client("sts").assume_role(
            RoleArn=role["roleArn"], RoleSessionName=role.get("sessionName") or "cellwave-repair", **extra
        )["Credentials"]
        session = boto3.Session(
            answer["AccessKeyId"],
            answer["SecretAccessKey"],
            answer["SessionToken"],
            botocore_session=_patient(),
            region_name=region,
        )
    return session


def _patient() -> botocore.session.Session:
    session = botocore.session.get_session()
    session.set_default_client_config(PATIENCE)
    return session
