"""Part of the query service: a tenant's events are sent to where it wants them."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from audit.stacks import access, queues
from audit.stacks.schedule import every_minute
from cellwave.cell import CellContext, CodeArchive
from cellwave.cell.alarms import Alarm
from cellwave.cell.function import Function, FunctionArgs

NAME = "streams"
FUNCTION = "query-streams"
SECONDS = 120
QUEUE_DAYS = 1  # a minute later there is another message


def settings(ctx: CellContext) -> dict[str, str]:
    """Where streams are kept, what encrypts their secrets, and the role that reaches a tenant's own."""
    return {
        "STREAMS_TABLE": ctx.name(NAME),
        "STREAM_KEY": f"alias/{ctx.name(NAME)}",
        "STREAM_ROLE": f"arn:{ctx.cell.partition}:iam::{ctx.cell.account}:role/"
        f"{ctx.name(FUNCTION)}-{ctx.cell.aws_region}",
    }


def may_say(ctx: CellContext) -> list[access.Statement]:
    """What the API does with streams: it writes secrets, and can't read them."""
    return [
        _rows(ctx, "GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"),
        _table_key(ctx),
        access.key(ctx, NAME, "kms:Encrypt"),
        {"Action": ["sqs:SendMessage"], "Resource": ctx.arn("sqs", ctx.name(NAME))},
    ]


def deploy_streams(ctx: CellContext, code: CodeArchive) -> dict[str, pulumi.Input[str]]:
    """The function, its queue and its schedule; what the API has to know of them."""
    queue = queues.work_queue(ctx, NAME, SECONDS, days=QUEUE_DAYS)
    told: dict[str, pulumi.Input[str]] = {**settings(ctx), "STREAMS_QUEUE": queue.url}
    sender = _sender(ctx, code, told)
    queues.feed(NAME, queue, sender, batch=1)
    every_minute(ctx, NAME, sender, "Has the streams that are due sent on their way.")
    return told


def alarms(ctx: CellContext) -> dict[str, Alarm]:
    """What is not done of it."""
    return {
        "streams": Alarm(
            "Errors", "AWS/Lambda", {"FunctionName": ctx.name(FUNCTION)}, 0, "streams are not worked on"
        ),
        "streams-dead": queues.given_up(ctx, NAME, "streams that nobody could work on"),
        "streams-backlog": queues.waits(ctx, NAME, "seconds that a stream waits for its worker"),
    }


def _sender(ctx: CellContext, code: CodeArchive, told: Mapping[str, pulumi.Input[str]]) -> Function:
    """The one function that reaches out of the cell: to where tenants say."""
    return Function(
        ctx,
        FUNCTION,
        FunctionArgs(
            code=code,
            handler="audit.handlers.stream.sender.handler",
            environment={
                **access.environment(ctx),
                **told,
                **access.log_settings(ctx),
                "ARCHIVE_BUCKET": ctx.bucket("archive"),
                "LANDING_BUCKET": ctx.bucket("landing"),
                # The global endpoint is another region's to fail.
                "AWS_STS_REGIONAL_ENDPOINTS": "regional",
            },
            allow=[
                _rows(ctx, "Scan", "UpdateItem"),
                _table_key(ctx),
                access.key(ctx, NAME, "kms:Decrypt"),
                *access.read_logged(ctx),
                access.log_key(ctx, "kms:GetPublicKey"),
                # Whether a hold is on: then what had not ended is sent on.
                access.directory_object(ctx),
                *access.tell_tenants(ctx),
                queues.take_messages(ctx, NAME, "sqs:SendMessage"),
                # Whose role it is lets it in, by an external id; in the cell's own account it takes on none.
                {
                    "Action": ["sts:AssumeRole"],
                    "Resource": f"arn:{ctx.cell.partition}:iam::*:role/*",
                    "Condition": {"StringNotEquals": {"aws:ResourceAccount": ctx.cell.account}},
                },
            ],
            timeout=SECONDS,
            memory=512,
        ),
    )


def _rows(ctx: CellContext, *actions: str) -> access.Statement:
    return {
        "Action": [f"dynamodb:{action}" for action in actions],
        "Resource": ctx.arn("dynamodb", f"table/{ctx.name(NAME)}"),
    }


def _table_key(ctx: CellContext) -> access.Statement:
    return access.use_key(ctx, NAME, "kms:Decrypt", "kms:GenerateDataKey", through="dynamodb")
