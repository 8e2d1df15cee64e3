"""The ingest service: an HTTP API that accepts events, and the processor that archives and indexes them."""

from __future__ import annotations

import os

import pulumi

from audit.stacks import access, queues
from audit.stacks.buckets import Retention
from audit.stacks.days import WAITING_DAYS
from audit.stacks.log import deploy_log
from audit.stacks.schedule import every_minute
from cellwave.cell import CellContext, CodeArchive, code_archive
from cellwave.cell.alarms import Alarm, ServiceAlarms, ServiceAlarmsArgs
from cellwave.cell.function import Function, FunctionArgs
from cellwave.cell.http_api import HttpApi, HttpApiArgs

PROCESSOR_SECONDS = 30
WAITING_SECONDS = 50  # less than the minute until it is called again


def deploy(ctx: CellContext) -> None:
    """The API, the queues, both functions and the alarms; outputs `api_id` and `url`."""
    code = code_archive(ctx.source, ctx.service.code)
    api = HttpApi(ctx, HttpApiArgs(_session_function(ctx, code)))
    queue = queues.work_queue(ctx, "ingest", PROCESSOR_SECONDS)
    queues.announce(ctx, "landing", "ingest", queue, queues.feed("ingest", queue, _processor(ctx, code)))
    every_minute(ctx, "ingest-waiting", _waiting(ctx, code), "Looks after events that wait for their tenant.")
    log = deploy_log(ctx, code)
    ServiceAlarms(ctx, ServiceAlarmsArgs({**api.alarms(), **_alarms(ctx), **log}))
    pulumi.export("api_id", api.id)
    pulumi.export("url", api.endpoint)


def _session_function(ctx: CellContext, code: CodeArchive) -> Function:
    edge = os.environ.get("CELLWAVE_EDGE_URL")
    upload = {"UPLOAD_URL": f"{edge}/_upload/{ctx.bucket('landing')}"} if edge else {}
    return Function(
        ctx,
        "ingest-api",
        FunctionArgs(
            code=code,
            handler="audit.handlers.ingest.session.handler",
            environment={**access.environment(ctx), **_buckets(ctx), **upload},
            allow=[
                access.directory_object(ctx),
                # For what the API itself puts, and for what uploads by the policies that it signs put.
                access.objects(ctx, "landing", "s3:PutObject"),
                # Whether a post is there: without the right to decrypt, nothing of it is read but its metadata.
                access.objects(ctx, "landing", "s3:GetObject", named="*/post-*"),
                access.use_key(ctx, "archive", "kms:GenerateDataKey", through="s3"),
                # Applications read what was rejected of theirs; nobody here reads an event.
                access.list_objects(ctx, "archive", "_rejected"),
                access.objects(ctx, "archive", "s3:GetObject", named="_rejected/*"),
                access.decrypt_objects(ctx, "archive", "archive"),
            ],
        ),
    )


def _processor(ctx: CellContext, code: CodeArchive) -> Function:
    return Function(
        ctx,
        "ingest-processor",
        FunctionArgs(
            code=code,
            handler="audit.handlers.ingest.processor.handler",
            environment={
                **access.environment(ctx),
                **_buckets(ctx),
                "INDEX_TABLE": ctx.name("index"),
                "TRIES": str(queues.TRIES),
            },
            allow=[
                access.directory_object(ctx, "s3:GetObject", "s3:GetObjectVersion"),
                # S3 always names the version that it announces.
                access.objects(ctx, "landing", "s3:GetObjectVersion"),
                access.objects(ctx, "landing", "s3:GetObject", named="_waiting/*"),
                access.add_objects(ctx, "landing", named="_waiting/*"),
                *_may_keep(ctx),
                queues.take_messages(ctx, "ingest"),
            ],
            timeout=PROCESSOR_SECONDS,
            memory=512,
        ),
    )


def _waiting(ctx: CellContext, code: CodeArchive) -> Function:
    """Apart from the processor, which reads what strangers upload and has no right to delete."""
    return Function(
        ctx,
        "ingest-waiting",
        FunctionArgs(
            code=code,
            handler="audit.handlers.ingest.waiting.handler",
            environment={
                **access.environment(ctx),
                **_buckets(ctx),
                "INDEX_TABLE": ctx.name("index"),
                "WAITING_DAYS": str(WAITING_DAYS),
            },
            allow=[
                access.directory_object(ctx),
                access.list_objects(ctx, "landing", "_waiting"),
                # The bucket is versioned: what is deleted lies there as long as anything else.
                access.objects(ctx, "landing", "s3:GetObject", "s3:DeleteObject", named="_waiting/*"),
                *_may_keep(ctx),
            ],
            timeout=WAITING_SECONDS,
            memory=512,
        ),
    )


def _buckets(ctx: CellContext) -> dict[str, str]:
    return {
        "LANDING_BUCKET": ctx.bucket("landing"),
        "ARCHIVE_BUCKET": ctx.bucket("archive"),
        "ARCHIVE_LOCK": Retention.of(ctx).mode,
    }


def _may_keep(ctx: CellContext) -> list[access.Statement]:
    """Add to the archive and to the index."""
    return [
        access.objects(ctx, "archive", "s3:GetObject"),
        access.add_objects(ctx, "archive"),
        # By which a new object is locked; of one that is there, S3 lets a lock be lengthened alone.
        access.objects(
            ctx, "archive", "s3:PutObjectRetention", "s3:PutObjectLegalHold", "s3:PutObjectTagging"
        ),
        access.objects(ctx, "archive", "s3:GetObjectRetention"),
        access.use_key(ctx, "archive", "kms:Decrypt", "kms:GenerateDataKey", through="s3"),
        access.index(ctx, "dynamodb:PartiQLInsert"),
        access.use_key(ctx, "index", "kms:Decrypt", "kms:GenerateDataKey", through="dynamodb"),
    ]


def _alarms(ctx: CellContext) -> dict[str, Alarm]:
    processor, waiting = ({"FunctionName": ctx.name(f"ingest-{part}")} for part in ("processor", "waiting"))
    return {
        "dead": queues.given_up(ctx, "ingest", "landing objects nobody could process"),
        "backlog": queues.waits(ctx, "ingest", "seconds that a landing object waits"),
        "processor": Alarm("Errors", "AWS/Lambda", processor, 0, "the processor failed a whole batch"),
        "waiting": Alarm("Errors", "AWS/Lambda", waiting, 0, "events that wait for their tenant are not looked after"),
    }  # fmt: skip
