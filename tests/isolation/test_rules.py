"""Each rule, by resources that are against it and by the nearest that are not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwave.deploy.ahead import told
from cellwave.fleet.model import Allowance, Fleet, Isolation
from cellwave.fleet.parse import parse_fleet
from cellwave.isolation.addresses import is_inside
from cellwave.isolation.known import REPLICATES, REVIEWED, WAYS_OUT
from cellwave.isolation.model import Bounds
from cellwave.isolation.rules import findings
from cellwave.states import HIDDEN, UNKNOWN
from tests.fleet.files import FILES
from tests.isolation.graph import (
    CONTROL,
    HERE,
    NEXT,
    NOBODYS,
    OWN,
    TODAY,
    allow,
    bounds,
    found,
    let_in,
    policy,
    resource,
)

BUCKET, QUEUE, ROLE = "aws:s3/bucket:Bucket", "aws:sqs/queue:Queue", "aws:iam/role:Role"
POLICY = "aws:sqs/queuePolicy:QueuePolicy"
GRANT, KEY, FUNCTION = "aws:iam/rolePolicy:RolePolicy", "aws:kms/key:Key", "aws:lambda/function:Function"
TOPIC, ATTACHED = (
    "aws:sns/topicSubscription:TopicSubscription",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
)
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:x"}
TARGET, COPIES = (
    "aws:cloudwatch/eventTarget:EventTarget",
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig",
)
PEERING, PERMISSION = "aws:ec2/vpcPeeringConnection:VpcPeeringConnection", "aws:lambda/permission:Permission"
STACK = "pulumi:pulumi:StackReference"
READER, STRANGER = f"arn:aws:iam::{CONTROL}:role/r", f"arn:aws:iam::{NOBODYS}:root"
AWAY, ANYWHERE = f"arn:aws:sqs:eu-west-3:{HERE}:q", f"arn:aws:dynamodb:*:{HERE}:table/t"
ADMIN, ELSEWHERE = "arn:aws:iam::aws:policy/AdministratorAccess", f"arn:aws:iam::{HERE}:policy/theirs"
ANYONES, STATE, THEIR_DATA = (
    "arn:aws:sqs:us-west-2:*:q",
    "arn:aws:s3:::pulumi-state",
    "arn:aws:s3:::us-east-1-data",
)
ORDER = {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}
OURS = {"StringEquals": {"aws:SourceAccount": HERE}}
IF_EXISTS = {"StringEqualsIfExists": OURS["StringEquals"]}
OF_NOBODY = {"StringEquals": {"aws:SourceAccount": NOBODYS}}
FROM_OURS = {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::us-west-2-{HERE}-data"}}
ANYS = {"ArnLike": {"aws:SourceArn": "arn:aws:sns:us-west-2:*"}}
FOR_LOGS = {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:us-west-2:{HERE}:*"}}
LOGS, OWNS = "logs.us-west-2.amazonaws.com", f"arn:aws:dynamodb:us-west-2:{HERE}:table/*"
MAY_DECRYPT = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}
BY_S3, GATEWAY = {"Service": "s3.amazonaws.com"}, "apigateway.amazonaws.com"
AMONG_OTHERS = {"StringEquals": {"aws:PrincipalAccount": [HERE, NOBODYS]}}

# A rule, what it is about, a type, and inputs.
AGAINST: list[tuple[str, str, str, dict[str, Any]]] = [
    # Another cell's, or the control plane's.
    ("other-cell", f"arn:aws:sqs:us-east-1:{NEXT}:jobs", QUEUE, {"tags": {"to": f"arn:aws:sqs:us-east-1:{NEXT}:jobs"}}),
    ("other-cell", f"arn:aws:iam::{NEXT}:root", KEY, {"policy": let_in({"AWS": f"arn:aws:iam::{NEXT}:root"})}),
    ("other-cell", NEXT, KEY, {"policy": let_in({"AWS": NEXT})}),
    ("other-cell", f"us-east-1-{NEXT}-data", FUNCTION, {"environment": {"variables": {"B": f"us-east-1-{NEXT}-data"}}}),
    ("other-cell", THEIR_DATA, GRANT, {"policy": allow("s3:GetObject", THEIR_DATA)}),
    *(
        ("other-cell", "us-east-1-data", FUNCTION, {"environment": {"variables": {"DATA": text}}})
        for text in ("us-east-1-data", "alias/us-east-1-data", "a=us-east-1-data,b", '{"bucket": "us-east-1-data"}')
    ),
    ("control-plane", "control-keys", FUNCTION, {"environment": {"variables": {"KEYS": "control-keys"}}}),
    ("other-cell", "us-east-1.storage", STACK, {"name": "organization/p/us-east-1.storage"}),
    ("control-plane", READER, GRANT, {"policy": allow("sts:AssumeRole", READER)}),
    ("control-plane", "control.keys", STACK, {"name": "control.keys"}),
    # Nobody's, or in another region.
    ("foreign-account", STRANGER, ROLE, {"assumeRolePolicy": let_in({"AWS": STRANGER})}),
    ("foreign-account", NOBODYS, ROLE, {"assumeRolePolicy": let_in({"AWS": NOBODYS})}),
    ("foreign-account", NOBODYS, PERMISSION, {"principal": NOBODYS}),
    ("foreign-account", ANYONES, GRANT, {"policy": allow("sqs:SendMessage", ANYONES)}),
    ("foreign-account", STATE, GRANT, {"policy": allow("s3:PutObject", STATE)}),
    ("foreign-account", "sts:AssumeRole *", GRANT, {"policy": allow("sts:AssumeRole")}),
    ("foreign-account", "arn:aws:s3:::*", GRANT, {"policy": allow("s3:GetObject", "arn:aws:s3:::*")}),
    *(
        ("foreign-account", f"{action} *", GRANT, {"policy": allow(action)})
        for action in (
            "s3:GetObject", "dynamodb:PutItem", "dynamodb:DeleteItem", "kms:Decrypt", "secretsmanager:GetSecretValue",
            "lambda:InvokeFunction", "logs:Describe*",
        )
    ),
    ("foreign-account", "sqs:SendMessage arn:aws:sqs:*", GRANT, {"policy": allow("sqs:SendMessage", "arn:aws:sqs:*")}),
    ("foreign-account", NOBODYS, PERMISSION, {"principal": "s3.amazonaws.com", "sourceAccount": NOBODYS}),
    ("foreign-account", NOBODYS, POLICY, {"policy": let_in(BY_S3, Action="sqs:SendMessage", Condition=OF_NOBODY)}),
    ("foreign-region", AWAY, TARGET, {"arn": AWAY}),
    ("foreign-region", ANYWHERE, GRANT, {"policy": allow("dynamodb:GetItem", ANYWHERE)}),
    # Copies.
    ("replication", COPIES, COPIES, {}),
    ("replication", "replicas", "aws:dynamodb/table:Table", {"replicas": [{"regionName": "eu-west-1"}]}),
    ("replication", "multiRegion", KEY, {"multiRegion": True}),
    ("replication", "replicas", "aws:secretsmanager/secret:Secret", {"replicas": [{"region": "eu-west-1"}]}),
    ("replication", "replicationConfiguration", BUCKET, {"replicationConfiguration": {"role": "r"}}),
    # Ways out.
    ("egress", PEERING, PEERING, {}),
    ("egress", "https://hooks.example/x", FUNCTION, {"environment": {"variables": {"HOOK": "https://hooks.example/x"}}}),
    ("egress", "https://sqs.eu-west-1.amazonaws.com", FUNCTION, {"environment": {"variables": {"Q": "https://sqs.eu-west-1.amazonaws.com"}}}),
    ("egress", "https", TOPIC, {"protocol": "https"}),
    ("egress", "email", TOPIC, {"protocol": "email", "endpoint": "a@b.example"}),
    # Who is let in.
    ("principal", "Principal *", KEY, {"policy": let_in("*")}),
    ("principal", "Principal *", ROLE, {"assumeRolePolicy": let_in({"AWS": ["*"]})}),
    ("principal", "Principal *", KEY, {"policy": let_in("*", Condition=ORDER)}),
    ("principal", "Principal *", KEY, {"policy": let_in("*", Condition=IF_EXISTS)}),
    ("principal", "Principal *", KEY, {"policy": let_in("*", Condition=AMONG_OTHERS)}),
    ("principal", "Principal accounts.example", ROLE, {"assumeRolePolicy": let_in({"Federated": "accounts.example"})}),
    ("principal", f"Principal {HERE}", KEY, {"policy": policy({"Effect": "Allow", "NotPrincipal": HERE})}),
    ("principal", "Principal s3.amazonaws.com", PERMISSION, {"principal": "s3.amazonaws.com"}),
    ("principal", "Principal s3.amazonaws.com", POLICY, {"policy": let_in(BY_S3, Action="sqs:SendMessage")}),
    ("principal", "Principal s3.amazonaws.com", POLICY, {"policy": let_in(BY_S3, Action="sqs:*", Condition=ANYS)}),
    ("principal", "Principal *", PERMISSION, {"principal": "*"}),
    ("principal", "Principal *", "aws:lambda/functionUrl:FunctionUrl", {"authorizationType": "NONE"}),
    ("principal", "public-read", "aws:s3/bucketAcl:BucketAcl", {"acl": "public-read"}),
    # What a role may do.
    ("infrastructure", "iam:PutRolePolicy", GRANT, {"policy": allow("iam:PutRolePolicy")}),
    ("infrastructure", "lambda:UpdateFunctionCode", GRANT, {"policy": allow(["lambda:UpdateFunctionCode"])}),
    ("infrastructure", "cloudformation:CreateStack", GRANT, {"policy": allow("cloudformation:CreateStack")}),
    ("infrastructure", "s3:PutBucketPolicy", ROLE, {"inlinePolicies": [{"policy": allow("s3:PutBucketPolicy")}]}),
    ("infrastructure", "*", GRANT, {"policy": allow("*")}),
    ("infrastructure", "s3:*", GRANT, {"policy": allow("s3:*")}),
    ("infrastructure", "s3:PutObject*", GRANT, {"policy": allow("s3:PutObject*")}),
    ("infrastructure", "IAM:passrole", GRANT, {"policy": allow("IAM:passrole")}),
    ("infrastructure", "new:DoSomething", GRANT, {"policy": allow("new:DoSomething")}),
    ("infrastructure", "sts:Get*", GRANT, {"policy": allow("sts:Get*")}),
    ("infrastructure", "sts:GetFederationToken", GRANT, {"policy": allow("sts:GetFederationToken")}),
    ("infrastructure", "NotAction", GRANT, {"policy": policy({"Effect": "Allow", "NotAction": "iam:*"})}),
    ("infrastructure", ADMIN, ATTACHED, {"policyArn": ADMIN}),
    ("infrastructure", ELSEWHERE, ROLE, {"managedPolicyArns": [ELSEWHERE]}),
    # What nobody can tell.
    ("unknown", "aws:quantum/computer:Computer", "aws:quantum/computer:Computer", {}),
    ("unknown", "command:local:Command", "command:local:Command", {}),
    ("unknown", "a value", QUEUE, {"name": UNKNOWN}),
    ("unknown", "policy", KEY, {"policy": SECRET}),
    ("unknown", "policy", KEY, {"policy": HIDDEN}),
    ("unknown", "policy", KEY, {"policy": '{"Statement": [], "Statement": []}'}),
    ("unknown", "Statement", KEY, {"policy": '{"Statement": ["any"]}'}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "what", "kind", "inputs"), AGAINST)
def test_what_is_against_a_rule_is_found(rule: str, what: str, kind: str, inputs: dict[str, Any]) -> None:
    """By that rule alone, with the resource, and what of it."""
    (finding,) = [one for one in found(kind, inputs) if (one.rule, one.what) == (rule, what)]
    assert {one.rule for one in found(kind, inputs)} == {rule}
    assert finding.resource == f"{kind} jobs"
    assert finding.right


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (KEY, {"policy": let_in({"AWS": f"arn:aws:iam::{HERE}:root"})}),
        (KEY, {"policy": let_in("*", Condition=OURS)}),
        (KEY, {"policy": policy({"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"})}),
        (ROLE, {"assumeRolePolicy": let_in({"Service": "lambda.amazonaws.com"})}),
        (ROLE, {"managedPolicyArns": ["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"]}),
        (GRANT, {"policy": allow(["dynamodb:PutItem", "DynamoDB:query", "sqs:SendMessage"], OWNS)}),
        (GRANT, {"policy": allow(["cloudwatch:PutMetricData", "logs:DescribeLogGroups", "ec2:Describe*"])}),
        (
            GRANT,
            {"policy": policy({**MAY_DECRYPT, "Condition": {"StringEquals": {"aws:ResourceAccount": HERE}}})},
        ),
        (PERMISSION, {"principal": "s3.amazonaws.com", "sourceAccount": HERE}),
        (PERMISSION, {"principal": GATEWAY, "sourceArn": f"arn:aws:execute-api:us-west-2:{HERE}:a/*/*"}),
        (POLICY, {"policy": let_in(BY_S3, Action="sqs:SendMessage", Condition=FROM_OURS)}),
        (KEY, {"policy": let_in({"Service": LOGS}, Action="kms:Encrypt", Condition=FOR_LOGS)}),
        (GRANT, {"policy": allow("s3:GetObject", f"arn:aws:s3:::us-west-2-{HERE}-data/*")}),
        (GRANT, {"policy": allow("s3:GetObject", f"arn:aws:s3:::anything-{HERE}")}),
        (GRANT, {"policy": allow("sts:AssumeRole", f"arn:aws:iam::{HERE}:role/r")}),
        (FUNCTION, {"environment": {"variables": {"Q": f"https://sqs.us-west-2.amazonaws.com/{HERE}/q"}}}),
        (
            FUNCTION,
            {"environment": {"variables": {"REGION": "us-east-1", "A": "x-us-east-1-x", "B": "us-east-12"}}},
        ),
        (FUNCTION, {"environment": {"variables": {"EDGE": "http://127.0.0.1:8080/x"}}}),
        (
            "aws:apigatewayv2/integration:Integration",
            {
                "integrationUri": "arn:aws:apigateway:us-west-2:lambda:path/2015-03-31/functions/"
                f"arn:aws:lambda:us-west-2:{HERE}:function:f/invocations"
            },
        ),
        ("aws:dynamodb/table:Table", {"replicas": [], "name": "us-west-2-index"}),
        (QUEUE, {"name": "123456789012", "tags": {"when": "1234567890123"}}),
        ("random:index/randomPet:RandomPet", {"length": 2}),
        (STACK, {"name": "organization/p/us-west-2.storage"}),
    ],
)
def test_what_a_cell_needs_is_let_be(kind: str, inputs: dict[str, Any]) -> None:
    """Also by the strictest rules."""
    assert found(kind, inputs) == []


INSIDE = [
    "https://search-x.us-west-2.es.amazonaws.com",
    "postgres://u:secret@db.abc.us-west-2.rds.amazonaws.com:5432/d",
    "http://web-1.us-west-2.elb.amazonaws.com",
    "redis://c.abc.0001.usw2.cache.amazonaws.com:6379",
    "https://web-1.elb.us-west-2.amazonaws.com",
    "http://10.0.0.5:8080",
    "http://[fd00::1]:8080",
    "http://169.254.170.2/v2",
    f"s3://us-west-2-{HERE}-data/x",
    "s3://goods-1a2b/x",
]
AWAY_FROM_HERE = [
    "https://search-x.us-east-1.es.amazonaws.com",
    "https://us-west-2.es.amazonaws.com.evil.example",
    "https://xus-west-2.es.amazonaws.com",
    "https://theirs.us-west-2.s3.amazonaws.com",
    "http://ec2-8-8-8-8.us-west-2.compute.amazonaws.com",
    "redis://c.abc.0001.use1.cache.amazonaws.com:6379",
    "http://8.8.8.8:8080",
    "http://[2600::1]/@10.0.0.5",
    "s3://theirs/x",
]


@pytest.mark.parametrize(
    ("urls", "rules"), [(INSIDE, []), (AWAY_FROM_HERE, ["egress"] * len(AWAY_FROM_HERE))]
)
def test_an_address_in_the_cell_is_aws_s_in_its_region_a_private_one_or_a_bucket_of_its_own(
    urls: list[str], rules: list[str]
) -> None:
    """Whatever order a host has its service and region in; a bucket's name makes no region."""
    bucket = resource(OWN, BUCKET, outputs={"bucket": "goods-1a2b"})
    function = resource(OWN, FUNCTION, inputs={"environment": {"variables": {"A": urls}}})
    assert [one.rule for one in findings([OWN, bucket, function], bounds())] == rules


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("ap-southeast-1", "c.apse1.cache.amazonaws.com"),
        ("cn-north-1", "c.cnn1.cache.amazonaws.com.cn"),
        ("cn-north-1", "d.cn-north-1.rds.amazonaws.com.cn"),
    ],
)
def test_an_address_is_of_the_cell_s_partition_and_of_its_region_in_short(region: str, host: str) -> None:
    """And of no other."""
    held = bounds()
    there = replace(held, place=held.place.model_copy(update={"aws_region": region}))
    assert is_inside(f"redis://{host}:6379", there, ())
    assert not is_inside(f"redis://{host}:6379", held, ())


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("postgres://u:hush@db.example:5432/d", "postgres://db.example:5432/d"),
        ("postgres://u:hush/hush?#@hush@db.example/d", "postgres://db.example/d"),
        ("postgres://hush@db.example", "postgres://db.example"),
        ("postgres://u:hush", "postgres://"),
        ("https://a.example/x?key=hush#hush", "https://a.example/x"),
        ("https://u-200000000003:hush@a.example", "https://a.example"),
        ("https://a.example:8443/@x", "https://a.example:8443/@x"),
    ],
)
def test_an_address_is_shown_without_what_is_secret_in_it(url: str, what: str) -> None:
    """Neither user and password nor query; that is also what an allowance names."""
    (finding,) = found(FUNCTION, {"environment": {"variables": {"A": url}}})
    assert finding.what == what
    assert "hush" not in finding.words


def test_a_program_that_asked_for_nothing_is_held_to_its_place_and_kept_from_other_cells_alone() -> None:
    """So it rides as it did: no rule of the strict ones is asked."""
    plain = bounds(strict=False)
    for rule, _, kind, inputs in AGAINST:
        assert {one.rule for one in found(kind, inputs, plain)} <= {"other-cell"}, rule
    queue = {"tags": {"to": f"arn:aws:sqs:us-east-1:{NEXT}:jobs"}}
    assert [one.rule for one in found(QUEUE, queue, plain)] == ["other-cell"]
    assert [one.rule for one in found(BUCKET, {"region": "eu-west-1"}, plain)] == ["place"]


def test_the_control_plane_may_speak_of_cells_unless_it_is_strict() -> None:
    """It is there for that; a strict one says to whom."""
    queue = {"tags": {"to": f"arn:aws:sqs:us-east-1:{NEXT}:jobs"}}
    rules = [
        {one.rule for one in found(QUEUE, queue, bounds(cell="control", strict=strict))} - {"place"}
        for strict in (False, True)
    ]
    assert rules == [set(), {"other-cell"}]


@pytest.mark.parametrize("wrap", [lambda d: d, json.dumps, lambda d: json.dumps({"Body": json.dumps(d)})])
def test_documents_are_read_wherever_they_stand(wrap: Any) -> None:
    """As a mapping, as a text, and in the text of another."""
    document = {
        "Statement": {
            "Effect": "Allow",
            "Action": "iam:CreateUser",
            "Resource": f"arn:aws:iam::{NEXT}:user/u",
        }
    }
    rules = {
        one.rule for one in found("aws:cloudwatch/dashboard:Dashboard", {"dashboardBody": wrap(document)})
    }
    assert rules == {"infrastructure", "other-cell"}


def test_cells_of_one_account_are_told_apart_by_region_and_by_name() -> None:
    """IAM has no region: there the name says whose it is, the longest that fits."""
    of_one = FILES["cells/us.yaml"].replace(NEXT, HERE).replace("name: us-east-1", "name: us-west-2-b")
    files = {**FILES, "cells/us.yaml": of_one.replace("failover: us-east-1", "failover: us-west-2-b")}
    fleet = parse_fleet(files)
    other = Bounds(fleet.place("us-west-2-b"), Isolation(strict=True), lambda: fleet, TODAY, is_made=True)

    def whose(*arns: str) -> list[str]:
        found = findings([resource(OWN, QUEUE, inputs={"tags": {"a": list(arns)}})], other)
        return [one.what for one in found if one.rule == "other-cell"]

    theirs = [f"arn:aws:sqs:us-west-2:{HERE}:q", f"arn:aws:iam::{HERE}:role/us-west-2-x"]
    assert (
        whose(*theirs, f"arn:aws:iam::{HERE}:role/us-west-2-b-x", f"arn:aws:iam::{HERE}:role/deploy")
        == theirs
    )


def test_before_an_update_what_is_not_known_yet_is_left_for_after_it() -> None:
    """A preview has the same text for all of it."""
    inputs = {"policy": UNKNOWN, "name": UNKNOWN}
    assert found(KEY, inputs, bounds(is_made=False)) == []
    permission = {"principal": GATEWAY, "sourceArn": UNKNOWN}
    assert found(PERMISSION, permission, bounds(is_made=False)) == []
    assert [one.rule for one in found(KEY, inputs)] == ["unknown"]


def test_the_graph_s_own_policies_and_buckets_are_the_cell_s() -> None:
    """Whatever they are called."""
    made = resource(
        OWN,
        "aws:iam/policy:Policy",
        inputs={"policy": allow("s3:GetObject", "arn:aws:s3:::goods-1a2b/*")},
        outputs={"arn": f"arn:aws:iam::{HERE}:policy/own"},
    )
    bucket = resource(OWN, BUCKET, outputs={"bucket": "goods-1a2b"})
    using = resource(OWN, ATTACHED, inputs={"policyArn": f"arn:aws:iam::{HERE}:policy/own"})
    reading = resource(OWN, GRANT, inputs={"policy": allow("s3:GetObject", "arn:aws:s3:::goods-1a2b/*")})
    assert findings([OWN, made, bucket, using, reading], bounds()) == []


@pytest.mark.parametrize(
    ("given", "what"),
    [(None, "none"), (f"arn:aws:iam::{HERE}:policy/other", f"arn:aws:iam::{HERE}:policy/other")],
)
def test_where_a_boundary_is_asked_for_every_role_has_it(given: str | None, what: str) -> None:
    """That very policy, of the cell's account."""
    held = bounds(boundary="cell-boundary")
    (finding,) = found(ROLE, {"permissionsBoundary": given}, held)
    assert (finding.rule, finding.what) == ("boundary", what)
    assert found(ROLE, {"permissionsBoundary": f"arn:aws:iam::{HERE}:policy/cell-boundary"}, held) == []


COPY = {"replicas": [{"regionName": "eu-west-1"}]}
EXCEPTION = Allowance(
    rule="replication",
    resource="aws:dynamodb/table:Table *",
    what="replicas",
    reason="read there",
    expires="2026-11-29",
)


def test_an_allowance_covers_what_it_names_until_its_last_day() -> None:
    """That rule, that resource, that much of it; afterwards its reason is told with the finding."""
    table = "aws:dynamodb/table:Table"
    assert found(table, COPY, bounds(EXCEPTION)) == []
    (late,) = found(table, COPY, bounds(EXCEPTION, today="2026-11-30"))
    assert "was allowed until 2026-11-29: read there" in late.words
    for other in ({"rule": "egress"}, {"resource": "aws:s3/*"}, {"what": "multiRegion"}):
        assert found(table, COPY, bounds(EXCEPTION.model_copy(update=other)))
    longer = EXCEPTION.model_copy(update={"expires": "2027-01-01"})
    assert found(table, COPY, bounds(EXCEPTION, longer, today="2026-12-31")) == []


def test_no_allowance_covers_a_resource_that_is_not_in_its_cell() -> None:
    """There is none to be written for that."""
    assert "place" not in json.dumps(Allowance.model_json_schema()["properties"]["rule"])


def test_another_s_cells_are_read_only_when_something_is_not_the_cell_s_own() -> None:
    """A large fleet takes its time to be read."""

    def never() -> Fleet | None:
        raise AssertionError("the fleet is read")

    held = bounds(fleet=never)
    inputs = {
        "policy": allow(
            "s3:GetObject", [f"arn:aws:s3:::us-west-2-{HERE}-a/*", f"arn:aws:iam::{HERE}:role/us-west-2-x"]
        )
    }
    assert found(GRANT, inputs, held) == []
    told = {
        "A": "us-west-2-a",
        "B": f"https://sqs.us-west-2.amazonaws.com/{HERE}/us-west-2-a",
        "C": "alias/us-west-2-a",
    }
    assert found(FUNCTION, {"environment": {"variables": told}}, held) == []


def test_another_cell_s_account_in_a_user_is_told_without_the_password() -> None:
    """A text that has no user in it is told as far as it has no space."""
    urls = {f"postgres://u-{NEXT}:hush@x": NEXT, f"https://a.example/{NEXT}/q": f"https://a.example/{NEXT}/q"}
    for url, what in urls.items():
        assert [one.what for one in found(QUEUE, {"tags": {"a": url}}, bounds(strict=False))] == [what]


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | inner.map(lambda v: json.dumps({"k": v}))
    ),
    max_leaves=12,
)


@given(
    NESTED,
    st.sampled_from([f"arn:aws:sqs:us-east-1:{NEXT}:q", NEXT]),
    st.sampled_from(["list", "key", "text", "words"]),
)
def test_another_cell_s_is_found_however_deep_it_lies(noise: Any, theirs: str, way: str) -> None:
    """In lists, keys, documents and sentences; whatever else is there breaks nothing."""
    put = {
        "list": [noise, {"a": [theirs]}],
        "key": {theirs: noise},
        "text": json.dumps([json.dumps({"a": [noise, theirs]})]),
        "words": f"see {theirs}, please",
    }[way]
    assert theirs in {one.what for one in found(QUEUE, {"x": put}, bounds(strict=False))}


@given(st.sampled_from(sorted(REVIEWED)), NESTED)
def test_what_names_nobody_is_nobody_s(kind: str, noise: Any) -> None:
    """A program that is not strict is refused for no text of its own."""
    assert found(kind, {"x": noise}, bounds(strict=False)) == []


def test_the_tables_of_types_have_nothing_in_common() -> None:
    """Each type is one thing."""
    assert len(REVIEWED | REPLICATES | WAYS_OUT) == len(REVIEWED) + len(REPLICATES) + len(WAYS_OUT)


def test_a_reason_tells_the_first_findings_and_how_many_there_are_more() -> None:
    """It is a line of a journal; the check tells all."""
    many = found(FUNCTION, {"environment": {"variables": [f"https://{n}.example" for n in range(7)]}})
    assert told(many).count("right would be") == 5
    assert told(many).endswith("; and 2 more")
    assert told(many[:5]) == "; ".join(one.words for one in many[:5])
