"""What the program asks for, without an engine: who may do what, and how long things are kept."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest

from audit.handlers.common import aws
from audit.handlers.common.directory import FRESH
from audit.handlers.common.retention import CLASSES
from audit.handlers.ingest.waiting import WORK_SECONDS
from cellwave.fleet.model import AlarmSignal, Isolation
from cellwave.fleet.parse import parse_fleet
from cellwave.isolation.model import Bounds
from cellwave.isolation.rules import findings
from cellwave.project import find_project

FLEET = parse_fleet(find_project(Path(__file__).parent).config_files())
CELL = FLEET.cell("us-west-2")
DAY = 86400
LOCKS = {"s3:PutObjectRetention", "s3:PutObjectLegalHold", "s3:PutObjectTagging", "s3:GetObjectRetention"}
OF_THE_ARCHIVE = {"s3:GetObject", "s3:PutObject", *LOCKS}
# What the handlers call, function by function: bucket or service, and the actions on it.
CALLED = {
    "ingest-api": {
        "config": {"s3:GetObject"},
        "landing": {"s3:PutObject"},
        "posts": {"s3:GetObject"},
        "names in archive": {"s3:ListBucket"},
        "rejected": {"s3:GetObject"},
        "archive key": {"kms:Decrypt", "kms:GenerateDataKey"},
    },
    "ingest-processor": {
        "config": {"s3:GetObject", "s3:GetObjectVersion"},
        "landing": {"s3:GetObjectVersion"},
        "waiting": {"s3:GetObject", "s3:PutObject"},
        "archive": OF_THE_ARCHIVE,
        "archive key": {"kms:Decrypt", "kms:GenerateDataKey"},
        "index": {"dynamodb:PartiQLInsert"},
        "index key": {"kms:Decrypt", "kms:GenerateDataKey"},
        "queue": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
    },
    "log-sequencer": {
        "archive": {"s3:GetObject", "s3:GetObjectRetention"},
        "archive key": {"kms:Decrypt"},
        "logs": {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"},
        "names of logs": {"s3:ListBucket"},
        "places": {
            "dynamodb:GetItem",
            "dynamodb:BatchGetItem",
            "dynamodb:PutItem",
            "dynamodb:BatchWriteItem",
        },
        "index key": {"kms:Decrypt", "kms:GenerateDataKey"},
        "log key": {"kms:Sign", "kms:GetPublicKey"},
        "log queue": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"},
    },
    "ingest-waiting": {
        "config": {"s3:GetObject"},
        "names in landing": {"s3:ListBucket"},
        "waiting": {"s3:GetObject", "s3:DeleteObject"},
        "archive": OF_THE_ARCHIVE,
        "archive key": {"kms:Decrypt", "kms:GenerateDataKey"},
        "index": {"dynamodb:PartiQLInsert"},
        "index key": {"kms:Decrypt", "kms:GenerateDataKey"},
    },
    "directory": {
        "config": {"s3:GetObject", "s3:PutObject", "s3:GetObjectTagging", "s3:PutObjectTagging"},
        "told": {"s3:GetObject", "s3:PutObject"},
        "names in config": {"s3:ListBucket"},
        "internal events": {"s3:PutObject"},
        "archive key": {"kms:GenerateDataKey"},
        "role": {"sts:AssumeRole"},
    },
    "router": {"config": {"s3:GetObject"}},
    "query-api": {
        "config": {"s3:GetObject"},
        "index": {"dynamodb:Query"},
        "index key": {"kms:Decrypt"},
        "limits": {"dynamodb:UpdateItem"},
        "exports rows": {"dynamodb:PutItem", "dynamodb:GetItem", "dynamodb:Query"},
        "exports": {"s3:GetObject"},
        "exports key": {"kms:Decrypt"},
        "exports queue": {"sqs:SendMessage"},
        "streams rows": {
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
            "dynamodb:DeleteItem",
            "dynamodb:Query",
        },
        "streams queue": {"sqs:SendMessage"},
        "streams key": {"kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey"},
        "logs": {"s3:GetObject"},
        "names of logs": {"s3:ListBucket"},
        "archive": {"s3:GetObject"},
        "names in archive": {"s3:ListBucket"},
        "archive key": {"kms:Decrypt", "kms:GenerateDataKey"},
        "places": {"dynamodb:BatchGetItem"},
        "log key": {"kms:GetPublicKey"},
        "internal events": {"s3:PutObject"},
        "viewer key": {"kms:GenerateMac", "kms:VerifyMac"},
    },
    "query-streams": {
        "config": {"s3:GetObject"},
        "streams rows": {"dynamodb:Scan", "dynamodb:UpdateItem"},
        "streams key": {"kms:Decrypt", "kms:GenerateDataKey"},
        "logs": {"s3:GetObject"},
        "names of logs": {"s3:ListBucket"},
        "places": {"dynamodb:BatchGetItem"},
        "log key": {"kms:GetPublicKey"},
        "index key": {"kms:Decrypt"},
        "archive": {"s3:GetObject"},
        "names in archive": {"s3:ListBucket"},
        "archive key": {"kms:Decrypt", "kms:GenerateDataKey"},
        "internal events": {"s3:PutObject"},
        "streams queue": {
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:SendMessage",
        },
        "any tenant's role": {"sts:AssumeRole"},
    },
    "query-exports": {
        "index": {"dynamodb:Query"},
        "index key": {"kms:Decrypt"},
        "exports rows": {"dynamodb:UpdateItem"},
        "exports": {"s3:GetObject", "s3:PutObject"},
        "exports key": {"kms:Decrypt", "kms:GenerateDataKey"},
        "exports queue": {
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:SendMessage",
        },
        "logs": {"s3:GetObject"},
        "names of logs": {"s3:ListBucket"},
        "places": {"dynamodb:BatchGetItem"},
        "log key": {"kms:GetPublicKey"},
    },
}


# What a queue holds outlasts the minutes of trouble: another's trouble in those minutes excuses it no more.
WITHOUT_REFERENCE = {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"}


@dataclass(frozen=True)
class Resources:
    """Every resource by (type, name), with its inputs."""

    made: dict[tuple[str, str], dict[str, Any]]

    def of(self, typ: str) -> dict[str, dict[str, Any]]:
        """The resources of a type by name."""
        return {name: inputs for (kind, name), inputs in self.made.items() if kind == typ}


@pytest.fixture(scope="module")
def resources() -> Resources:
    """Those of every service of a cell on AWS."""
    return collected(CELL.name)


@cache
def collected(cell: str, region: str = "") -> Resources:
    """Those of a cell, were it in that region (its own without one)."""
    own = ("CELLWAVE_", "AWS_", "PULUMI_")
    done = subprocess.run(
        [sys.executable, "-m", "tests.audit.collecting", cell, region],
        env={name: value for name, value in os.environ.items() if not name.startswith(own)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return Resources({(typ, name): inputs for typ, name, inputs in json.loads(done.stdout)})


def place(statement: dict[str, Any]) -> str:
    """What a statement is about, in the words of CALLED."""
    (resource,) = [statement["Resource"]]
    if resource.endswith(":key/*"):
        (alias,) = [statement["Condition"]["ForAnyValue:StringEquals"]["kms:ResourceAliases"]]
        return f"{alias.removeprefix(f'alias/{CELL.name}-')} key"
    known = {
        f":::{CELL.name}-{CELL.account}-config/directory.json": "config",
        f":::{CELL.name}-{CELL.account}-config/told.json": "told",
        f":::{CELL.name}-{CELL.account}-config": "names in config",
        f":::{CELL.name}-{CELL.account}-landing/*": "landing",
        f":::{CELL.name}-{CELL.account}-landing/*/post-*": "posts",
        f":::{CELL.name}-{CELL.account}-landing/_waiting/_internal/*": "internal events",
        f":::{CELL.name}-{CELL.account}-landing/_waiting/*": "waiting",
        f":::{CELL.name}-{CELL.account}-landing": "names in landing",
        f":::{CELL.name}-{CELL.account}-archive": "names in archive",
        f":::{CELL.name}-{CELL.account}-archive/_rejected/*": "rejected",
        f":::{CELL.name}-{CELL.account}-archive/*": "archive",
        f":::{CELL.name}-{CELL.account}-log/*": "logs",
        f":::{CELL.name}-{CELL.account}-log": "names of logs",
        f":table/{CELL.name}-log": "places",
        f":{CELL.account}:{CELL.name}-log": "log queue",
        f":table/{CELL.name}-index": "index",
        f":table/{CELL.name}-limits": "limits",
        f":table/{CELL.name}-streams": "streams rows",
        f":{CELL.account}:{CELL.name}-streams": "streams queue",
        "iam::*:role/*": "any tenant's role",
        f":table/{CELL.name}-exports": "exports rows",
        f":::{CELL.name}-{CELL.account}-exports/*": "exports",
        f":{CELL.account}:{CELL.name}-exports": "exports queue",
        f":{CELL.account}:{CELL.name}-ingest": "queue",
        ":role/control-directory-us": "role",
        ":*": "log",
    }
    return next(name for end, name in known.items() if resource.endswith(end))


def test_a_function_may_do_what_it_calls_and_no_more(resources: Resources) -> None:
    """Nothing of an event is deleted but what waited; who archives adds to the archive, and logs read it."""
    policies = resources.of("aws:iam/rolePolicy:RolePolicy")
    assert set(policies) == set(CALLED)
    for function, policy in policies.items():
        found: dict[str, set[str]] = {}
        for statement in json.loads(policy["policy"])["Statement"]:
            actions = statement["Action"]
            found.setdefault(place(statement), set()).update(
                [actions] if isinstance(actions, str) else actions
            )
        assert found.pop("log") == {"logs:CreateLogStream", "logs:PutLogEvents"}
        assert found == CALLED[function]


@pytest.mark.parametrize("function", ["ingest-processor", "ingest-waiting"])
def test_the_processor_adds_to_the_archive_and_replaces_nothing(resources: Resources, function: str) -> None:
    """S3 refuses each put without `If-None-Match`, and so it does of whoever looks after what waits."""
    policy = resources.of("aws:iam/rolePolicy:RolePolicy")[function]
    puts = [s for s in json.loads(policy["policy"])["Statement"] if "s3:PutObject" in s["Action"]]
    assert puts
    for put in puts:
        assert put["Condition"] == {"Null": {"s3:if-none-match": "false"}}
        assert put["Action"] == ["s3:PutObject"]


def test_the_api_reads_what_was_rejected_and_nothing_else(resources: Resources) -> None:
    """It sees names below that folder alone, and decrypts nothing of the landing bucket, whose key is the archive's."""
    policy = json.loads(resources.of("aws:iam/rolePolicy:RolePolicy")["ingest-api"]["policy"])["Statement"]
    (seen,) = [s for s in policy if "s3:ListBucket" in s["Action"]]
    assert seen["Condition"] == {"StringLike": {"s3:prefix": "_rejected/*"}}
    (decrypted,) = [s for s in policy if "kms:Decrypt" in s["Action"]]
    bucket = decrypted["Condition"]["StringEquals"]["kms:EncryptionContext:aws:s3:arn"]
    assert bucket.endswith(f":::{CELL.name}-{CELL.account}-archive")


def test_who_takes_a_stream_s_secret_in_can_not_read_it(resources: Resources) -> None:
    """By itself the API only encrypts, and the sender only decrypts, and takes on no role of the cell's own account."""
    policies = resources.of("aws:iam/rolePolicy:RolePolicy")
    for function, action in (("query-api", "kms:Encrypt"), ("query-streams", "kms:Decrypt")):
        statements = json.loads(policies[function]["policy"])["Statement"]
        direct = [
            s["Action"]
            for s in statements
            if place(s) == "streams key" and "StringEquals" not in s["Condition"]
        ]
        assert direct == [[action]]
    (assumed,) = [s for s in statements if s["Action"] == ["sts:AssumeRole"]]
    assert assumed["Condition"] == {"StringNotEquals": {"aws:ResourceAccount": CELL.account}}


def test_what_waits_is_replayed_within_two_minutes_and_outlives_its_time(resources: Resources) -> None:
    """A minute until the next call, and the longest that one takes; then days in which somebody may mend that."""
    rule = resources.of("aws:cloudwatch/eventRule:EventRule")["ingest-waiting"]
    function = resources.of("aws:lambda/function:Function")["ingest-waiting"]
    assert rule["scheduleExpression"] == "rate(1 minute)"
    assert 60 + function["timeout"] <= 120
    assert WORK_SECONDS < function["timeout"] < 60
    expiry = resources.of("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration")["landing"]
    days = int(function["environment"]["variables"]["WAITING_DAYS"])
    assert days == 14
    assert expiry["rules"][0]["expiration"]["days"] >= days + 4


def test_a_landing_object_outlives_every_message_that_names_it(resources: Resources) -> None:
    """Even one that lay dead to its last day and is sent back into the queue."""
    queues = resources.of("aws:sqs/queue:Queue")
    longest = sum(queues[name]["messageRetentionSeconds"] for name in ("ingest", "dead"))
    (rule,) = resources.of("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration")["landing"][
        "rules"
    ]
    assert rule["expiration"]["days"] * DAY > longest
    # A client that uses a name again makes the object before a noncurrent one at once.
    assert rule["noncurrentVersionExpiration"]["noncurrentDays"] * DAY > longest


def test_a_queue_of_before_is_the_same_resource(resources: Resources) -> None:
    """By the name that the stacks of before know it by: made anew, it would lose what lies in it."""
    made = {name: inputs["name"] for name, inputs in resources.of("aws:sqs/queue:Queue").items()}
    assert made["dead"] == f"{CELL.name}-ingest-dead"
    assert made["ingest"] == f"{CELL.name}-ingest"


def test_nothing_of_the_archive_expires_but_by_its_class_and_no_log(resources: Resources) -> None:
    """What is held, or has no class, stays; so do the directory's versions: what was accepted names its own."""
    rules = resources.of("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration")
    assert set(rules) == {"landing", "log", "exports", "archive"}
    *classes, markers = rules["archive"]["rules"]
    assert {rule["filter"]["and"]["tags"]["kept"]: rule["expiration"]["days"] for rule in classes} == {
        name: days + 2 for name, days in CLASSES.items()
    }
    assert {rule["filter"]["and"]["tags"]["held"] for rule in classes} == {"no"}
    assert markers["expiration"] == {"expiredObjectDeleteMarker": True}
    assert [rule["filter"] for rule in rules["log"]["rules"]] == [{"prefix": "_staged/"}]
    versioned = resources.of("aws:s3/bucketVersioning:BucketVersioning")
    assert set(versioned) == {"archive", "landing", "config"}


def test_only_what_is_made_anew_goes_with_its_stack(resources: Resources) -> None:
    """A way back to before there were exports succeeds with exports there; what holds data goes by nobody's mistake."""
    buckets = resources.of("aws:s3/bucket:Bucket")
    assert {name for name, inputs in buckets.items() if inputs.get("forceDestroy")} == {"exports"}
    assert {"archive", "landing", "log", "config"} < set(buckets)


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "us-east-1.amazonaws.com"),
        ("us-west-2", "us-west-2.amazonaws.com"),
        ("eu-west-1", "eu-west-1.amazonaws.com"),
        ("us-gov-west-1", "us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "cn-north-1.amazonaws.com.cn"),
        ("eusc-de-east-1", "eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_no_request_leaves_its_region(region: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form of an upload session is of the region's own endpoint, whatever the shell prefers."""
    for name, value in {
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": "A" * 16,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "legacy",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    aws.forget()
    post = aws.s3().generate_presigned_post(Bucket="bucket", Key="acme/${filename}")
    assert post["url"] == f"https://bucket.s3.{host}/"
    aws.forget()


def test_the_role_of_the_control_plane_is_asked_for_in_the_cells_own_region(resources: Resources) -> None:
    """STS's global endpoint is another region's to fail."""
    function = resources.of("aws:lambda/function:Function")["directory"]
    assert function["environment"]["variables"]["AWS_STS_REGIONAL_ENDPOINTS"] == "regional"


def test_a_cell_may_read_its_regions_snapshot_and_nothing_else_of_the_control_plane(
    resources: Resources,
) -> None:
    """By a role that only the functions of that region's cells may take, each in its own account; none makes a MAC."""
    control = collected("control")
    roles, policies = (control.of(f"aws:iam/{kind}") for kind in ("role:Role", "rolePolicy:RolePolicy"))
    assert set(roles) == set(policies) == {f"directory-{region.name}" for region in FLEET.regions}
    for region in FLEET.regions:
        policy = json.loads(policies[f"directory-{region.name}"]["policy"])
        allowed: dict[str, set[str]] = {}
        for statement in policy["Statement"]:
            allowed.setdefault(statement["Resource"], set()).update(statement["Action"])
        bucket_or_key = "arn:aws:test:::directory"
        assert allowed == {
            f"{bucket_or_key}/{region.name}.json": {"s3:GetObject"},
            bucket_or_key: {"s3:ListBucket", "kms:VerifyMac"},
        }
        (trust,) = json.loads(roles[f"directory-{region.name}"]["assumeRolePolicy"])["Statement"]
        assert trust["Principal"] == {"AWS": sorted(f"arn:aws:iam::{c.account}:root" for c in region.cells)}
        assert trust["Condition"] == {
            "ArnEquals": {
                "aws:PrincipalArn": [
                    f"arn:aws:iam::{c.account}:role/{c.name}-directory-{c.aws_region}" for c in region.cells
                ]
            }
        }
    assert (
        resources.of("aws:iam/role:Role")["directory"]["name"] == f"{CELL.name}-directory-{CELL.aws_region}"
    )


def test_keys_reach_a_cell_within_two_minutes(resources: Resources) -> None:
    """A minute until the next pull, the longest that it takes, and as long as a function uses its copy."""
    assert (
        resources.of("aws:cloudwatch/eventRule:EventRule")["directory"]["scheduleExpression"]
        == "rate(1 minute)"
    )
    longest = resources.of("aws:lambda/function:Function")["directory"]["timeout"]
    assert 60 + longest + FRESH <= 120


def test_no_program_of_a_cell_says_who_has_keys(resources: Resources) -> None:
    """None asks anybody (`collecting` lets none), and what the directory holds is left to whoever brings it."""
    (directory,) = resources.of("aws:s3/bucketObjectv2:BucketObjectv2").values()
    assert json.loads(directory["content"]) == {"applications": {}}


@pytest.mark.parametrize(
    ("region", "partition", "suffix"),
    [("cn-north-1", "aws-cn", "amazonaws.com.cn"), ("eusc-de-east-1", "aws-eusc", "amazonaws.eu")],
)
def test_a_cell_of_any_partition_names_nothing_of_another(region: str, partition: str, suffix: str) -> None:
    """Every ARN of the program's own and every host in a policy is of the cell's partition."""
    texts = json.dumps(list(collected(CELL.name, region).made.values()))
    own = {arn for arn in re.findall(r"arn:[a-z-]+:[a-z0-9-]+", texts) if arn != "arn:aws:test"}
    assert {arn.split(":")[1] for arn in own} == {partition}
    hosts = set(re.findall(rf"{region}\.([a-z.]+)", texts))
    assert hosts == {suffix}


def test_every_alarm_says_what_shows_the_platforms_own_trouble(resources: Resources) -> None:
    """Each metric that a service's alarm watches has a reference in cells/fleet.yaml, but for what queues hold."""
    watched: dict[str, set[str]] = {}
    for alarm in resources.of("aws:cloudwatch/metricAlarm:MetricAlarm").values():
        service = alarm["name"].removeprefix(f"{CELL.name}-").split("-")[0]
        watched.setdefault(service, set()).add(alarm["metricName"])
    for declared in FLEET.services:
        (signal,) = (signal for signal in declared.signals.values() if isinstance(signal, AlarmSignal))
        assert watched[declared.name] - WITHOUT_REFERENCE <= signal.references.keys(), declared.name


def test_every_resource_keeps_to_its_cell(resources: Resources) -> None:
    """By all rules; and each exception in cells/fleet.yaml is for something that is there."""
    places = {CELL.name: resources, "control": collected("control")}
    for cell, of_cell in places.items():
        services = FLEET.services_of(cell)
        assert all(service.isolation and service.isolation.strict for service in services)
        allow = tuple(allowed for s in services if s.isolation for allowed in s.isolation.allow)
        for number in range(len(allow) + 1):
            left = Isolation(strict=True, allow=allow[:number] + allow[number + 1 :])
            bounds = Bounds(FLEET.place(cell), left, lambda: FLEET, "2026-11-29", is_made=True)
            assert bool(findings(states(cell, of_cell), bounds)) == (number < len(allow)), allow[number:][:1]


def states(cell: str, of_cell: Resources) -> list[dict[str, Any]]:
    """The resources as the engine would write them."""
    place = FLEET.place(cell)
    kind = "pulumi:providers:aws"
    given = {"region": place.aws_region, "allowedAccountIds": json.dumps([place.account])}
    provider = {"urn": f"urn::{cell}::{kind}::cell", "type": kind, "custom": True, "inputs": given}
    through = {"provider": f"{provider['urn']}::1"}
    arns = "arn:aws:test:::", f"arn:aws:test:{place.aws_region}:{place.account}:"
    made = [
        {"urn": f"urn::{cell}::{typ}::{name}", "type": typ, "custom": True, **through}
        | {"inputs": json.loads(json.dumps(inputs).replace(*arns))}
        for (typ, name), inputs in of_cell.made.items()
        if typ.startswith("aws:")
    ]
    return [provider, *made]
