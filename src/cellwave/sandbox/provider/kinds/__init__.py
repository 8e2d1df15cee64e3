"""The table of resource types."""

from __future__ import annotations

from cellwave.sandbox.provider.kinds import (
    apigateway,
    cloudwatch,
    dynamodb,
    events,
    iam,
    kms,
    lambdas,
    logs,
    s3,
    sns,
    sqs,
    ssm,
)

TYPES = {
    kind.token: kind
    for module in (apigateway, cloudwatch, dynamodb, events, iam, kms, lambdas, logs, s3, sns, sqs, ssm)
    for kind in module.TYPES
}
