"""A queue that a bucket's notifications go through to a function, and the one for what it gave up."""

from __future__ import annotations

import json

import pulumi
from pulumi_aws import lambda_, s3, sqs

from audit.stacks.days import DEAD_LETTER_DAYS, QUEUE_DAYS, SECONDS_A_DAY
from cellwave.cell import CellContext
from cellwave.cell.alarms import Alarm
from cellwave.cell.function import Function

TRIES = 5  # deliveries of a message before it goes to the dead-letter queue


def feed(ctx: CellContext, name: str, bucket: str, function: Function, seconds: int) -> None:
    """From that bucket through the queue `<cell>-<name>` to the function, whose own time is so many seconds.

    What fails so often waits in `<cell>-<name>-dead`.
    """
    queue = _queue(ctx, name, seconds)
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": ctx.arn("sqs", ctx.name(name)),
        "Condition": {
            "ArnEquals": {"aws:SourceArn": f"arn:{ctx.cell.partition}:s3:::{ctx.bucket(bucket)}"},
            "StringEquals": {"aws:SourceAccount": ctx.cell.account},
        },
    }
    policy = sqs.QueuePolicy(
        name,
        queue_url=queue.url,
        policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    trigger = lambda_.EventSourceMapping(
        name,
        event_source_arn=queue.arn,
        function_name=function.alias.arn,
        batch_size=10,
        function_response_types=["ReportBatchItemFailures"],
    )
    s3.BucketNotification(
        bucket,
        bucket=ctx.bucket(bucket),
        queues=[{"queue_arn": queue.arn, "events": ["s3:ObjectCreated:*"]}],
        opts=pulumi.ResourceOptions(depends_on=[policy, trigger]),
    )


def _queue(ctx: CellContext, name: str, seconds: int) -> sqs.Queue:
    dead = sqs.Queue(
        f"{name}-dead",
        name=ctx.name(f"{name}-dead"),
        message_retention_seconds=DEAD_LETTER_DAYS * SECONDS_A_DAY,
        sqs_managed_sse_enabled=True,
    )
    return sqs.Queue(
        name,
        name=ctx.name(name),
        # AWS asks for six times the function's own time; nobody waits for that in the sandbox.
        visibility_timeout_seconds=seconds * (1 if ctx.sandbox else 6),
        message_retention_seconds=QUEUE_DAYS * SECONDS_A_DAY,
        redrive_policy=dead.arn.apply(
            lambda arn: json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": TRIES})
        ),
        sqs_managed_sse_enabled=True,
    )


def take_messages(ctx: CellContext, name: str) -> dict[str, object]:
    """The IAM statement of the function that is fed."""
    return {
        "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
        "Resource": ctx.arn("sqs", ctx.name(name)),
    }


def alarms(ctx: CellContext, name: str, dead: str, waits: str) -> dict[str, Alarm]:
    """That something was given up, or waits for a quarter of an hour; in those words."""
    given_up, queue = {"QueueName": ctx.name(f"{name}-dead")}, {"QueueName": ctx.name(name)}
    return {
        f"{name}-dead": Alarm(
            "ApproximateNumberOfMessagesVisible", "AWS/SQS", given_up, 0, dead, statistic="Maximum"
        ),
        f"{name}-backlog": Alarm(
            "ApproximateAgeOfOldestMessage", "AWS/SQS", queue, 900, waits, statistic="Maximum"
        ),
    }
