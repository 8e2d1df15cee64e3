"""For every resource type: what it needs, inputs to create it with, inputs to update it to, one that replaces it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellwave.sandbox.provider.values import ARCHIVE, ASSET, SIGNATURE, Props
from tests.provider.conftest import ACCOUNT, REGION
from tests.provider.engine import Engine

TAGS = {"tags": {"team": "cells", "stage": "one"}}
OTHER_TAGS = {"tags": {"team": "cells", "cost": "low"}}
ASSUME = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


@dataclass(frozen=True)
class Case:
    """`updated` None: the type has nothing to update. `replacing` is an input with a value that replaces it (None:
    no input does). `scope` goes before the id on import. `lasts`: deleting it goes back to a default of AWS's."""

    inputs: Props
    updated: Props | None = None
    replacing: tuple[str, Any] | None = None
    scope: str = ""
    lasts: bool = False


Build = Callable[[Engine, Path], Case]
CASES: dict[str, Build] = {}


def case(token: str) -> Callable[[Build], Build]:
    """Registers a type's case."""

    def register(build: Build) -> Build:
        CASES[token] = build
        return build

    return register


def policy(*actions: str) -> str:
    """An IAM policy document that allows these actions."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def code(text: str) -> Props:
    """A Lambda's code as an archive of texts."""
    asset = {SIGNATURE: ASSET, "text": text, "hash": f"h-{text}"}
    return {SIGNATURE: ARCHIVE, "assets": {"app.py": asset}, "hash": f"a-{text}"}


HANDLER = "def handler(event, context):\n    return {}\n"


def bucket(engine: Engine, name: str, **inputs: Any) -> str:
    """A bucket to hang something on."""
    return engine.make("aws:s3/bucket:Bucket", bucket=f"case-{name}", **inputs).ref


def queue(engine: Engine, name: str) -> Props:
    """A queue's state."""
    return engine.make("aws:sqs/queue:Queue", name=f"case-{name}").state


def role(engine: Engine, name: str) -> Props:
    """A role's state."""
    return engine.make("aws:iam/role:Role", name=f"case-{name}", assumeRolePolicy=ASSUME).state


def function(engine: Engine, name: str) -> Props:
    """A published function's state."""
    return engine.make(
        "aws:lambda/function:Function",
        name=f"case-{name}",
        role=role(engine, name)["arn"],
        runtime="python3.12",
        handler="app.handler",
        code=code(HANDLER),
        publish=True,
    ).state


def api(engine: Engine, name: str) -> str:
    """An HTTP API's id."""
    return engine.make("aws:apigatewayv2/api:Api", name=f"case-{name}", protocolType="HTTP").ref


@case("aws:s3/bucket:Bucket")
def _(engine: Engine, tmp: Path) -> Case:
    inputs = {"bucket": "case-bucket", "objectLockEnabled": True}
    return Case(
        {**inputs, **TAGS}, {**inputs, "forceDestroy": True, **OTHER_TAGS}, ("bucket", "case-bucket-2")
    )


@case("aws:s3/bucketVersioning:BucketVersioning")
def _(engine: Engine, tmp: Path) -> Case:
    of = {"bucket": bucket(engine, "versioning")}
    return Case(
        {**of, "versioningConfiguration": {"status": "Enabled"}},
        {**of, "versioningConfiguration": {"status": "Suspended"}},
        ("bucket", "another"),
        lasts=True,
    )


@case("aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration")
def _(engine: Engine, tmp: Path) -> Case:
    of = {"bucket": bucket(engine, "lock", objectLockEnabled=True)}
    return Case(
        {**of, "rule": {"defaultRetention": {"mode": "GOVERNANCE", "days": 1}}},
        {**of, "rule": {"defaultRetention": {"mode": "COMPLIANCE", "days": 2}}},
        ("bucket", "another"),
        lasts=True,
    )


@case("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration")
def _(engine: Engine, tmp: Path) -> Case:
    of = {"bucket": bucket(engine, "lifecycle")}
    rule = {
        "id": "expire",
        "status": "Enabled",
        "filter": {"prefix": "in/"},
        "expiration": {"days": 1},
        "noncurrentVersionExpiration": {"noncurrentDays": 1},
        "abortIncompleteMultipartUpload": {"daysAfterInitiation": 1},
    }
    return Case(
        {**of, "rules": [rule]}, {**of, "rules": [{**rule, "expiration": {"days": 2}}]}, ("bucket", "another")
    )


@case("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock")
def _(engine: Engine, tmp: Path) -> Case:
    of = {"bucket": bucket(engine, "block"), "blockPublicAcls": True}
    return Case(
        {**of, "ignorePublicAcls": True}, {**of, "restrictPublicBuckets": True}, ("bucket", "another")
    )


@case("aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration")
def _(engine: Engine, tmp: Path) -> Case:
    of = {"bucket": bucket(engine, "encryption")}
    key = engine.make("aws:kms/key:Key").state["arn"]
    kms = {"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key}}
    own = {"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}
    return Case(
        {**of, "rules": [{**kms, "bucketKeyEnabled": True}]},
        {**of, "rules": [own]},
        ("bucket", "another"),
        lasts=True,
    )


@case("aws:s3/bucketNotification:BucketNotification")
def _(engine: Engine, tmp: Path) -> Case:
    of = {"bucket": bucket(engine, "notification")}
    entry = {"queueArn": queue(engine, "notified")["arn"], "events": ["s3:ObjectCreated:*"], "id": "new"}
    return Case(
        {**of, "queues": [{**entry, "filterPrefix": "in/", "filterSuffix": ".jsonl"}]},
        {**of, "queues": [{**entry, "filterPrefix": "other/"}]},
        ("bucket", "another"),
    )


@case("aws:s3/bucketPolicy:BucketPolicy")
def _(engine: Engine, tmp: Path) -> Case:
    of = {"bucket": bucket(engine, "policy")}
    return Case(
        {**of, "policy": policy("s3:GetObject")},
        {**of, "policy": policy("s3:PutObject")},
        ("bucket", "another"),
    )


@case("aws:s3/bucketObjectv2:BucketObjectv2")
def _(engine: Engine, tmp: Path) -> Case:
    of = {"bucket": bucket(engine, "object"), "key": "a/b.json"}
    inputs = {**of, "content": "{}", "contentType": "application/json", **TAGS}
    source = {SIGNATURE: ASSET, "text": "[]", "hash": "h"}
    return Case(inputs, {**of, "source": source, "metadata": {"a": "b"}, **OTHER_TAGS}, ("key", "c.json"))


@case("aws:dynamodb/table:Table")
def _(engine: Engine, tmp: Path) -> Case:
    def index(name: str, projection: Props) -> Props:
        return {"name": name, "hashKey": "tenant", "rangeKey": "at", **projection}

    key = engine.make("aws:kms/key:Key").state["arn"]
    inputs = {
        "name": "case-table",
        "billingMode": "PAY_PER_REQUEST",
        "hashKey": "id",
        "rangeKey": "at",
        "attributes": [{"name": name, "type": "S"} for name in ("id", "at", "tenant")],
        "globalSecondaryIndexes": [index("by-tenant", {"projectionType": "ALL"})],
        "ttl": {"attributeName": "expires", "enabled": True},
        "serverSideEncryption": {"enabled": True, "kmsKeyArn": key},
        "pointInTimeRecovery": {"enabled": True},
        **TAGS,
    }
    some = {"projectionType": "INCLUDE", "nonKeyAttributes": ["what"]}
    indexes = [index("by-tenant", {"projectionType": "ALL"}), index("some", some)]
    updated = {**inputs, "globalSecondaryIndexes": indexes, **OTHER_TAGS}
    return Case(updated, {k: v for k, v in inputs.items() if k != "ttl"}, ("hashKey", "tenant"))


@case("aws:kms/key:Key")
def _(engine: Engine, tmp: Path) -> Case:
    inputs = {"description": "one", "deletionWindowInDays": 7}
    return Case(
        {**inputs, "enableKeyRotation": True, **TAGS},
        {**inputs, "description": "two", "isEnabled": False, **OTHER_TAGS},
        ("keyUsage", "SIGN_VERIFY"),
    )


@case("aws:kms/alias:Alias")
def _(engine: Engine, tmp: Path) -> Case:
    one, two = (engine.make("aws:kms/key:Key").ref for _ in range(2))
    name = {"name": "alias/case"}
    return Case({**name, "targetKeyId": one}, {**name, "targetKeyId": two}, ("name", "alias/other"))


@case("aws:iam/role:Role")
def _(engine: Engine, tmp: Path) -> Case:
    inputs = {"name": "case-role", "assumeRolePolicy": ASSUME}
    other = ASSUME.replace("lambda", "ec2")
    return Case(
        {**inputs, "description": "one", **TAGS},
        {**inputs, "assumeRolePolicy": other, "maxSessionDuration": 7200, **OTHER_TAGS},
        ("path", "/cells/"),
    )


@case("aws:iam/rolePolicy:RolePolicy")
def _(engine: Engine, tmp: Path) -> Case:
    inputs = {"role": role(engine, "policy")["name"], "name": "own"}
    return Case(
        {**inputs, "policy": policy("s3:GetObject")}, {**inputs, "policy": policy("sqs:*")}, ("name", "other")
    )


@case("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
def _(engine: Engine, tmp: Path) -> Case:
    arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    return Case({"role": role(engine, "attached")["name"], "policyArn": arn}, None, ("role", "another"))


@case("aws:lambda/function:Function")
def _(engine: Engine, tmp: Path) -> Case:
    (tmp / "app.py").write_text(HANDLER)
    folder = {SIGNATURE: ARCHIVE, "path": str(tmp), "hash": "folder"}
    inputs = {
        "name": "case-function",
        "role": role(engine, "function")["arn"],
        "runtime": "python3.12",
        "handler": "app.handler",
        "publish": True,
    }
    return Case(
        {**inputs, "code": folder, "environment": {"variables": {"A": "1"}}, "memorySize": 256, **TAGS},
        {**inputs, "code": code(HANDLER), "timeout": 9, "reservedConcurrentExecutions": 2, **OTHER_TAGS},
        ("name", "another"),
    )


@case("aws:lambda/alias:Alias")
def _(engine: Engine, tmp: Path) -> Case:
    made = function(engine, "aliased")
    inputs = {"name": "live", "functionName": made["name"]}
    return Case(
        {**inputs, "functionVersion": "1", "description": "one"},
        {**inputs, "functionVersion": "$LATEST"},
        ("name", "other"),
        scope=made["name"],
    )


@case("aws:lambda/permission:Permission")
def _(engine: Engine, tmp: Path) -> Case:
    made = function(engine, "permitted")
    engine.make("aws:lambda/alias:Alias", name="live", functionName=made["name"], functionVersion="1")
    return Case(
        {
            "statementId": "api",
            "action": "lambda:InvokeFunction",
            "function": made["name"],
            "qualifier": "live",
            "principal": "apigateway.amazonaws.com",
            "sourceArn": f"arn:aws:execute-api:{REGION}:{ACCOUNT}:abc/*/*",
        },
        None,
        ("principal", "sqs.amazonaws.com"),
        scope=f"{made['name']}:live",
    )


@case("aws:lambda/eventSourceMapping:EventSourceMapping")
def _(engine: Engine, tmp: Path) -> Case:
    inputs = {
        "functionName": function(engine, "mapped")["arn"],
        "eventSourceArn": queue(engine, "source")["arn"],
        "functionResponseTypes": ["ReportBatchItemFailures"],
    }
    return Case(
        {**inputs, "batchSize": 5, "maximumBatchingWindowInSeconds": 1},
        {**inputs, "batchSize": 7, "maximumBatchingWindowInSeconds": 1, "enabled": False},
        ("eventSourceArn", "arn:aws:sqs:eu-west-1:300000000001:other"),
    )


@case("aws:lambda/invocation:Invocation")
def _(engine: Engine, tmp: Path) -> Case:
    inputs = {"functionName": function(engine, "called")["name"], "qualifier": "1", "input": "{}"}
    return Case({**inputs, "triggers": {"version": "1"}}, None, ("triggers", {"version": "2"}), lasts=True)


@case("aws:cloudwatch/eventRule:EventRule")
def _(engine: Engine, tmp: Path) -> Case:
    inputs = {"name": "case-rule"}
    return Case(
        {**inputs, "scheduleExpression": "rate(1 minute)", "description": "one", **TAGS},
        {**inputs, "scheduleExpression": "rate(2 minutes)", "state": "DISABLED", **OTHER_TAGS},
        ("name", "another"),
    )


@case("aws:cloudwatch/eventTarget:EventTarget")
def _(engine: Engine, tmp: Path) -> Case:
    rule = engine.make(
        "aws:cloudwatch/eventRule:EventRule", name="case-aimed", scheduleExpression="rate(1 minute)"
    )
    inputs = {"rule": rule.ref, "targetId": "case"}
    return Case(
        {**inputs, "arn": function(engine, "aimed")["arn"], "input": "{}"},
        {**inputs, "arn": function(engine, "aimed-at")["arn"]},
        ("targetId", "another"),
        scope=rule.ref,
    )


@case("aws:sqs/queue:Queue")
def _(engine: Engine, tmp: Path) -> Case:
    dead = json.dumps({"deadLetterTargetArn": queue(engine, "dead")["arn"], "maxReceiveCount": 3})
    inputs = {"name": "case-queue", "redrivePolicy": dead, "messageRetentionSeconds": 86400}
    return Case(
        {**inputs, "visibilityTimeoutSeconds": 60, **TAGS},
        {**inputs, "delaySeconds": 5, "receiveWaitTimeSeconds": 1, **OTHER_TAGS},
        ("name", "another"),
    )


@case("aws:sqs/queuePolicy:QueuePolicy")
def _(engine: Engine, tmp: Path) -> Case:
    of = {"queueUrl": queue(engine, "policed")["url"]}
    return Case(
        {**of, "policy": policy("sqs:Send*")}, {**of, "policy": policy("sqs:*")}, ("queueUrl", "another")
    )


@case("aws:sqs/redrivePolicy:RedrivePolicy")
def _(engine: Engine, tmp: Path) -> Case:
    of, dead = {"queueUrl": queue(engine, "redriven")["url"]}, queue(engine, "dead-letters")["arn"]
    one, two = (json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": n}) for n in (3, 4))
    return Case({**of, "redrivePolicy": one}, {**of, "redrivePolicy": two}, ("queueUrl", "another"))


@case("aws:apigatewayv2/api:Api")
def _(engine: Engine, tmp: Path) -> Case:
    inputs = {"name": "case-api", "protocolType": "HTTP"}
    cors = {"allowOrigins": ["*"], "allowMethods": ["GET"], "maxAge": 60}
    return Case(
        {**inputs, "corsConfiguration": cors, **TAGS},
        {**inputs, "name": "case-api-2", "description": "two", **OTHER_TAGS},
        ("protocolType", "WEBSOCKET"),
    )


@case("aws:apigatewayv2/integration:Integration")
def _(engine: Engine, tmp: Path) -> Case:
    made = api(engine, "integration")
    inputs = {
        "apiId": made,
        "integrationType": "AWS_PROXY",
        "integrationMethod": "POST",
        "integrationUri": function(engine, "integrated")["invokeArn"],
        "payloadFormatVersion": "2.0",
    }
    changed = {"timeoutMilliseconds": 5000, "description": "two"}
    return Case(inputs, {**inputs, **changed}, ("integrationType", "HTTP_PROXY"), scope=made)


@case("aws:apigatewayv2/route:Route")
def _(engine: Engine, tmp: Path) -> Case:
    made = api(engine, "route")
    inputs = {"apiId": made, "routeKey": "$default", "target": "integrations/abc"}
    return Case(inputs, {**inputs, "routeKey": "GET /x"}, ("apiId", "another"), scope=made)


@case("aws:apigatewayv2/stage:Stage")
def _(engine: Engine, tmp: Path) -> Case:
    made = api(engine, "stage")
    inputs = {"apiId": made, "name": "$default", "autoDeploy": True}
    limits = {"throttlingBurstLimit": 20, "throttlingRateLimit": 10.5}
    return Case(
        {**inputs, "defaultRouteSettings": limits, **TAGS},
        {**inputs, "stageVariables": {"a": "b"}, "description": "two", **OTHER_TAGS},
        ("name", "other"),
        scope=made,
    )


@case("aws:cloudwatch/metricAlarm:MetricAlarm")
def _(engine: Engine, tmp: Path) -> Case:
    inputs = {
        "name": "case-alarm",
        "comparisonOperator": "GreaterThanThreshold",
        "evaluationPeriods": 2,
        "metricName": "5xx",
        "namespace": "AWS/ApiGateway",
        "dimensions": {"ApiId": "abc"},
        "period": 60,
    }
    return Case(
        {**inputs, "statistic": "Sum", "threshold": 1.5, "treatMissingData": "notBreaching", **TAGS},
        {**inputs, "extendedStatistic": "p90", "threshold": 2, "datapointsToAlarm": 1, **OTHER_TAGS},
        ("name", "another"),
    )


@case("aws:cloudwatch/compositeAlarm:CompositeAlarm")
def _(engine: Engine, tmp: Path) -> Case:
    for name in ("case-a", "case-b"):
        engine.make(
            "aws:cloudwatch/metricAlarm:MetricAlarm",
            name=name,
            comparisonOperator="GreaterThanThreshold",
            evaluationPeriods=1,
            metricName="Errors",
            namespace="AWS/Lambda",
            period=60,
            statistic="Sum",
            threshold=1,
        )
    inputs = {"alarmName": "case-composite", "alarmRule": "ALARM(case-a)"}
    both = "ALARM(case-a) OR ALARM(case-b)"
    return Case(
        {**inputs, "alarmDescription": "one", **TAGS},
        {**inputs, "alarmRule": both, **OTHER_TAGS},
        ("alarmName", "other"),
    )


@case("aws:cloudwatch/logGroup:LogGroup")
def _(engine: Engine, tmp: Path) -> Case:
    inputs = {"name": "/case/logs"}
    return Case({**inputs, "retentionInDays": 7, **TAGS}, {**inputs, **OTHER_TAGS}, ("name", "/case/other"))


@case("aws:ssm/parameter:Parameter")
def _(engine: Engine, tmp: Path) -> Case:
    inputs = {"name": "/case/parameter", "type": "String"}
    return Case(
        {**inputs, "value": "one", **TAGS},
        {**inputs, "value": "two", "description": "d", **OTHER_TAGS},
        ("type", "SecureString"),
    )


@case("aws:sns/topic:Topic")
def _(engine: Engine, tmp: Path) -> Case:
    return Case(
        {"name": "case-topic", "displayName": "one", **TAGS},
        {"name": "case-topic", "displayName": "two", **OTHER_TAGS},
        ("name", "another"),
    )
