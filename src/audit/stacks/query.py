"""The query service: an HTTP API whose function reads the index, counts what each tenant asks, and has exports made."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi_aws import dynamodb

from audit.stacks import access, queues, streams
from audit.stacks.buckets import PrivateBucket, PrivateBucketArgs, Retention
from audit.stacks.keys import kms_key, mac_key
from cellwave.cell import CellContext, CodeArchive, code_archive
from cellwave.cell.alarms import Alarm, ServiceAlarms, ServiceAlarmsArgs
from cellwave.cell.function import Function, FunctionArgs
from cellwave.cell.http_api import HttpApi, HttpApiArgs

REQUESTS = 200  # of a tenant in ten seconds, unless the cell's label `query_requests` says otherwise
EXPORT_DAYS = 3  # that an export is kept
WORKER_SECONDS = 120
VIEWER = "viewer"  # the key by which links to it are known


def deploy(ctx: CellContext) -> None:
    """The API, its function, the worker of exports and the alarms; outputs `api_id` and `url`."""
    code = code_archive(ctx.source, ctx.service.code)
    mac_key(ctx, VIEWER)
    queue = queues.work_queue(ctx, "exports", WORKER_SECONDS, days=EXPORT_DAYS)
    bucket = PrivateBucket(
        ctx,
        "exports",
        # A way back to before there were exports takes them away too.
        PrivateBucketArgs(key_arn=kms_key(ctx, "exports").arn, expire_days=EXPORT_DAYS, made_anew=True),
    )
    # The resources' outputs, so that nobody calls them before there are any.
    exports: dict[str, pulumi.Input[str]] = {
        "EXPORTS_TABLE": _table(ctx, "exports", "sk").name,
        "EXPORTS_QUEUE": queue.url,
        "EXPORTS_BUCKET": bucket.bucket.bucket,
        "INDEX_TABLE": ctx.name("index"),
    }
    told = {**exports, **streams.deploy_streams(ctx, code)}
    api = HttpApi(ctx, HttpApiArgs(_api_function(ctx, code, told)))
    queues.feed("exports", queue, _worker(ctx, code, exports), batch=1)
    ServiceAlarms(ctx, ServiceAlarmsArgs({**api.alarms(), **_alarms(ctx), **streams.alarms(ctx)}))
    pulumi.export("api_id", api.id)
    pulumi.export("url", api.endpoint)


def limit_of(ctx: CellContext) -> int:
    """How often a tenant may ask in ten seconds; RunError when the cell's label says nothing of the kind."""
    said = ctx.cell.labels.get("query_requests", str(REQUESTS))
    if not (said.isascii() and said.isdigit()) or int(said) < 1:
        raise pulumi.RunError(
            f"cell {ctx.cell.name}: label query_requests is {said!r}: expected a number of requests from 1, that a "
            "tenant may make in ten seconds"
        )
    return int(said)


def _api_function(ctx: CellContext, code: CodeArchive, told: Mapping[str, pulumi.Input[str]]) -> Function:
    kept = Retention.of(ctx)
    return Function(
        ctx,
        "query-api",
        FunctionArgs(
            code=code,
            handler="audit.handlers.query.api.handler",
            environment={
                **access.environment(ctx),
                **told,
                **access.log_settings(ctx),
                "ARCHIVE_BUCKET": ctx.bucket("archive"),
                "LANDING_BUCKET": ctx.bucket("landing"),
                "LIMITS_TABLE": _table(ctx, "limits").name,
                "LIMIT_REQUESTS": str(limit_of(ctx)),
                # What the viewer says of it.
                "RETENTION": f"{kept.mode} {kept.days}",
                "VIEWER_KEY": f"alias/{ctx.name(VIEWER)}",
            },
            allow=[
                access.directory_object(ctx),
                access.index(ctx, "dynamodb:Query"),
                _rows(ctx, "limits", "dynamodb:UpdateItem"),
                _rows(ctx, "exports", "dynamodb:PutItem", "dynamodb:GetItem", "dynamodb:Query"),
                {"Action": ["sqs:SendMessage"], "Resource": ctx.arn("sqs", ctx.name("exports"))},
                *access.read_logged(ctx),
                *streams.may_say(ctx),
                access.log_key(ctx, "kms:GetPublicKey"),
                *access.tell_tenants(ctx),
                access.key(ctx, VIEWER, "kms:GenerateMac", "kms:VerifyMac"),
                # For the URLs that it signs.
                access.objects(ctx, "exports", "s3:GetObject"),
                access.use_key(ctx, "exports", "kms:Decrypt", through="s3"),
            ],
        ),
    )


def _worker(ctx: CellContext, code: CodeArchive, exports: Mapping[str, pulumi.Input[str]]) -> Function:
    return Function(
        ctx,
        "query-exports",
        FunctionArgs(
            code=code,
            handler="audit.handlers.query.export_worker.handler",
            environment={
                "SERVICE": ctx.service.name,
                **exports,
                **access.log_settings(ctx),
                "TRIES": str(queues.TRIES),
            },
            allow=[
                access.index(ctx, "dynamodb:Query"),
                access.use_key(ctx, "index", "kms:Decrypt", through="dynamodb"),
                _rows(ctx, "exports", "dynamodb:UpdateItem"),
                access.objects(ctx, "exports", "s3:GetObject", "s3:PutObject"),
                access.use_key(ctx, "exports", "kms:Decrypt", "kms:GenerateDataKey", through="s3"),
                *access.log(ctx, "s3:GetObject"),
                access.log_places(ctx, "dynamodb:BatchGetItem"),
                access.log_key(ctx, "kms:GetPublicKey"),
                queues.take_messages(ctx, "exports", "sqs:SendMessage"),
            ],
            timeout=WORKER_SECONDS,
            memory=512,
        ),
    )


def _rows(ctx: CellContext, name: str, *actions: str) -> access.Statement:
    """Act on a table of the service's own."""
    return {"Action": list(actions), "Resource": ctx.arn("dynamodb", f"table/{ctx.name(name)}")}


def _table(ctx: CellContext, name: str, range_key: str | None = None) -> dynamodb.Table:
    """Rows that DynamoDB forgets by itself."""
    return dynamodb.Table(
        name,
        name=ctx.name(name),
        billing_mode="PAY_PER_REQUEST",
        hash_key="pk",
        range_key=range_key,
        attributes=[{"name": one, "type": "S"} for one in ("pk", range_key) if one],
        ttl={"attribute_name": "expires", "enabled": True},
    )


def _alarms(ctx: CellContext) -> dict[str, Alarm]:
    worker = {"FunctionName": ctx.name("query-exports")}
    return {
        # A process that can't count tries again every five seconds: one that lost a packet is no alarm.
        "limits": Alarm(
            "LimitsFailed", "Audit", {"Service": ctx.service.name}, 5,
            "tenants' requests can't be counted, and all are let in",
        ),
        "exports": Alarm("Errors", "AWS/Lambda", worker, 0, "an export failed, and is tried again"),
        "exports-dead": queues.given_up(ctx, "exports", "exports nobody could make"),
    }  # fmt: skip
