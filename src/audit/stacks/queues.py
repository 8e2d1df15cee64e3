"""Queues of a service: each with one for what was given up, a function that it feeds, and their alarms."""

from __future__ import annotations

import json

import pulumi
from pulumi_aws import lambda_, s3, sqs

from audit.stacks import access
from audit.stacks.days import DEAD_LETTER_DAYS, QUEUE_DAYS, SECONDS_A_DAY
from cellwave.cell import CellContext
from cellwave.cell.alarms import Alarm
from cellwave.cell.function import Function

TRIES = 5  # deliveries of a message before it goes to the dead-letter queue


def work_queue(
    ctx: CellContext, name: str, seconds: int, *, days: int = QUEUE_DAYS, tries: int = TRIES
) -> sqs.Queue:
    """The queue `<cell>-<name>` of a function whose own time is so many seconds; a message waits so many days at most.

    What was delivered so often in vain lies in `<cell>-<name>-dead`.
    """
    dead = sqs.Queue(
        # The stacks of before know ingest's by that name: by another it would be made anew, with what lies in it lost.
        "dead" if name == "ingest" else f"{name}-dead",
        name=ctx.name(f"{name}-dead"),
        message_retention_seconds=DEAD_LETTER_DAYS * SECONDS_A_DAY,
        sqs_managed_sse_enabled=True,
    )
    return sqs.Queue(
        name,
        name=ctx.name(name),
        # AWS asks for six times the function's own time; nobody waits for that in the sandbox.
        visibility_timeout_seconds=seconds * (1 if ctx.sandbox else 6),
        message_retention_seconds=days * SECONDS_A_DAY,
        redrive_policy=dead.arn.apply(
            lambda arn: json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": tries})
        ),
        sqs_managed_sse_enabled=True,
    )


def feed(name: str, queue: sqs.Queue, function: Function, batch: int = 10) -> lambda_.EventSourceMapping:
    """Call the function with what comes into the queue, so many messages at a time."""
    return lambda_.EventSourceMapping(
        name,
        event_source_arn=queue.arn,
        function_name=function.alias.arn,
        batch_size=batch,
        function_response_types=["ReportBatchItemFailures"],
    )


def announce(ctx: CellContext, bucket: str, name: str, queue: sqs.Queue, reader: pulumi.Resource) -> None:
    """Have that bucket tell the queue of every object that comes, once there is who reads it."""
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
    s3.BucketNotification(
        bucket,
        bucket=ctx.bucket(bucket),
        queues=[{"queue_arn": queue.arn, "events": ["s3:ObjectCreated:*"]}],
        opts=pulumi.ResourceOptions(depends_on=[policy, reader]),
    )


def take_messages(ctx: CellContext, name: str, *more: str) -> access.Statement:
    """The function that is fed, and what more it may do with the queue."""
    return {
        "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", *more],
        "Resource": ctx.arn("sqs", ctx.name(name)),
    }


def given_up(ctx: CellContext, name: str, why: str) -> Alarm:
    """Something was given up."""
    dead = {"QueueName": ctx.name(f"{name}-dead")}
    return Alarm("ApproximateNumberOfMessagesVisible", "AWS/SQS", dead, 0, why, statistic="Maximum")


def waits(ctx: CellContext, name: str, why: str) -> Alarm:
    """Something waits for a quarter of an hour."""
    queue = {"QueueName": ctx.name(name)}
    return Alarm("ApproximateAgeOfOldestMessage", "AWS/SQS", queue, 900, why, statistic="Maximum")
