"""Part of the ingest service: what is archived gets an entry in its tenant's log."""

from __future__ import annotations

import pulumi

from audit.stacks import access, queues
from audit.stacks.schedule import every_minute
from cellwave.cell import CellContext, CodeArchive
from cellwave.cell.alarms import Alarm
from cellwave.cell.function import Function, FunctionArgs

NAME = "log"
TRIES = 50  # a message that there was no time for is given back, and counts
SECONDS = 50  # less than the minute until it is called again


def deploy_log(ctx: CellContext, code: CodeArchive) -> dict[str, Alarm]:
    """The function and its queue; their alarms."""
    queue = queues.work_queue(ctx, NAME, SECONDS, tries=TRIES)
    sequencer = _sequencer(ctx, code, queue.url)
    queues.announce(ctx, "archive", NAME, queue, sequencer.alias)
    every_minute(ctx, NAME, sequencer, "Gives what was archived its entries in the tenants' logs.")
    failed = {"FunctionName": ctx.name("log-sequencer")}
    return {
        "log-dead": queues.given_up(ctx, NAME, "archived events that nobody could log"),
        "log-backlog": queues.waits(ctx, NAME, "seconds that an archived event waits for its entry"),
        "log": Alarm("Errors", "AWS/Lambda", failed, 0, "a log did not grow"),
    }


def _sequencer(ctx: CellContext, code: CodeArchive, queue: pulumi.Input[str]) -> Function:
    return Function(
        ctx,
        "log-sequencer",
        FunctionArgs(
            code=code,
            handler="audit.handlers.log.sequencer.handler",
            environment={
                **access.environment(ctx),
                **access.log_settings(ctx),
                "ARCHIVE_BUCKET": ctx.bucket("archive"),
                "LOG_QUEUE": queue,
            },
            allow=[
                access.objects(ctx, "archive", "s3:GetObject", "s3:GetObjectRetention"),
                access.use_key(ctx, "archive", "kms:Decrypt", through="s3"),
                access.use_key(ctx, "index", "kms:Decrypt", "kms:GenerateDataKey", through="dynamodb"),
                *access.log(ctx, "s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
                access.log_places(
                    ctx,
                    "dynamodb:GetItem",
                    "dynamodb:BatchGetItem",
                    "dynamodb:PutItem",
                    "dynamodb:BatchWriteItem",
                ),
                access.log_key(ctx, "kms:Sign", "kms:GetPublicKey"),
                {
                    "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"],
                    "Resource": ctx.arn("sqs", ctx.name(NAME)),
                },
            ],
            timeout=SECONDS,
            memory=1024,
        ),
    )
