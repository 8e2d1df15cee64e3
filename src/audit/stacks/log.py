"""Part of the ingest service: what is archived gets an entry in its tenant's log."""

from __future__ import annotations

import pulumi

from audit.stacks import access, queues
from cellwave.cell import CellContext, CodeArchive
from cellwave.cell.alarms import Alarm
from cellwave.cell.function import Function, FunctionArgs

NAME = "log"
SECONDS = 120
GATHERED = 5  # seconds


def deploy_log(ctx: CellContext, code: CodeArchive) -> dict[str, Alarm]:
    """The function and its queue; their alarms."""
    queue = queues.work_queue(ctx, NAME, SECONDS)
    # Few calls with much each: those of one tenant that run at once have to begin anew, and each growth of a log costs
    # the same, however many entries it brings. The emulator gathers nothing.
    much: dict[str, int] = {} if ctx.sandbox else {"batch": 500, "window": GATHERED}
    trigger = queues.feed(NAME, queue, _sequencer(ctx, code), at_once=2, **much)
    queues.announce(ctx, "archive", NAME, queue, trigger)
    failed = {"FunctionName": ctx.name("log-sequencer")}
    return {
        "log-dead": queues.given_up(ctx, NAME, "archived events that nobody could log"),
        "log-backlog": queues.waits(ctx, NAME, "seconds that an archived event waits for its entry"),
        "log": Alarm("Errors", "AWS/Lambda", failed, 0, "no log of a whole batch grew"),
    }


def _sequencer(ctx: CellContext, code: CodeArchive) -> Function:
    region = ctx.known.region_of(ctx.cell.name)
    if region is None:
        raise pulumi.RunError(f"cell {ctx.cell.name} is in no product region, which a log is named by")
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
                "LOG_ORIGIN": region.endpoint,
            },
            allow=[
                access.objects(ctx, "archive", "s3:GetObject"),
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
                queues.take_messages(ctx, NAME),
            ],
            timeout=SECONDS,
            memory=512,
        ),
    )
