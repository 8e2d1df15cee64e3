"""Part of the ingest service: what is archived gets an entry in its tenant's log."""

from __future__ import annotations

import pulumi

from audit.stacks import access, queues
from cellwave.cell import CellContext, CodeArchive
from cellwave.cell.alarms import Alarm
from cellwave.cell.function import Function, FunctionArgs

NAME = "log"
SECONDS = 60


def deploy_log(ctx: CellContext, code: CodeArchive) -> dict[str, Alarm]:
    """The function and its queue; their alarms."""
    queues.feed(ctx, NAME, "archive", _sequencer(ctx, code), SECONDS)
    failed = {"FunctionName": ctx.name("log-sequencer")}
    return {
        **queues.alarms(
            ctx,
            NAME,
            "archived events that nobody could log",
            "seconds that an archived event waits for its entry",
        ),
        "log": Alarm("Errors", "AWS/Lambda", failed, 0, "no log of a whole batch grew"),
    }


def _sequencer(ctx: CellContext, code: CodeArchive) -> Function:
    region = ctx.known.region_of(ctx.cell.name)
    if region is None:
        raise pulumi.RunError(f"cell {ctx.cell.name} is in no product region, which a log is named by")
    key = f"alias/{ctx.name('log')}"
    return Function(
        ctx,
        "log-sequencer",
        FunctionArgs(
            code=code,
            handler="audit.handlers.log.sequencer.handler",
            environment={
                **access.environment(ctx),
                "ARCHIVE_BUCKET": ctx.bucket("archive"),
                "LOG_BUCKET": ctx.bucket("log"),
                "LOG_TABLE": ctx.name("log"),
                "LOG_KEY": key,
                "LOG_ORIGIN": region.endpoint,
            },
            allow=[
                access.objects(ctx, "archive", "s3:GetObject"),
                access.use_key(ctx, "archive", "kms:Decrypt", through="s3"),
                access.use_key(ctx, "index", "kms:Decrypt", "kms:GenerateDataKey", through="dynamodb"),
                access.objects(ctx, "log", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
                # Or what is not there would look like what may not be read.
                {
                    "Action": ["s3:ListBucket"],
                    "Resource": f"arn:{ctx.cell.partition}:s3:::{ctx.bucket('log')}",
                },
                {
                    "Action": [
                        "dynamodb:GetItem",
                        "dynamodb:BatchGetItem",
                        "dynamodb:PutItem",
                        "dynamodb:BatchWriteItem",
                    ],
                    "Resource": ctx.arn("dynamodb", f"table/{ctx.name('log')}"),
                },
                {
                    "Action": ["kms:Sign", "kms:GetPublicKey"],
                    "Resource": ctx.arn("kms", "key/*"),
                    "Condition": {"ForAnyValue:StringEquals": {"kms:ResourceAliases": key}},
                },
                queues.take_messages(ctx, NAME),
            ],
            timeout=SECONDS,
            memory=512,
        ),
    )
