"""What the provider refuses, and how it says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from cellwave.project import Project
from cellwave.sandbox.provider.values import to_struct
from tests.provider.cases import ASSUME, code
from tests.provider.conftest import ACCOUNT, REGION
from tests.provider.engine import Engine, Refused, urn

QUEUE = "aws:sqs/queue:Queue"


def said(error: grpc.RpcError) -> str:
    """The error's text."""
    return str(error.details()) if isinstance(error, grpc.Call) else ""


def test_another_account_is_refused(connect: Callable[..., Engine]) -> None:
    """A provider pinned to one account does not work in another, and says which it found."""
    with pytest.raises(grpc.RpcError) as refused:
        connect(allowedAccountIds=["300000000009"])
    assert ACCOUNT in said(refused.value)
    assert "300000000009" in said(refused.value)


def test_a_role_leads_into_its_account(connect: Callable[..., Engine]) -> None:
    """`assumeRoles` decides the account, and `allowedAccountIds` holds for that one."""
    role = "arn:aws:iam::300000000008:role/cellwave-deploy"
    engine = connect(assumeRoles=[{"roleArn": role}], allowedAccountIds=["300000000008"])
    made = engine.make(QUEUE, name="by-role")
    assert made.state["arn"] == f"arn:aws:sqs:{REGION}:300000000008:by-role"


def test_a_connection_that_was_never_configured_is_refused(provider: int) -> None:
    """No configuration, no guess at an account."""
    with grpc.insecure_channel(f"127.0.0.1:{provider}") as channel:
        stub: Any = provider_pb2_grpc.ResourceProviderStub(channel)
        request = provider_pb2.CreateRequest(urn=urn(QUEUE), properties=to_struct({"name": "stray"}))
        with pytest.raises(grpc.RpcError) as refused:
            stub.Create(request)
    assert "never configured" in said(refused.value)


def test_a_wrong_setting_of_the_provider_is_refused(engine: Engine) -> None:
    """Unknown settings of the provider are named, with what was probably meant."""
    request = provider_pb2.CheckRequest(news=to_struct({"region": REGION, "allowedAccountId": '["1"]'}))
    failures = {f.property: f.reason for f in engine.stub.CheckConfig(request).failures}
    assert failures == {"allowedAccountId": "unknown input; did you mean allowedAccountIds?"}


def test_another_region_is_another_provider(engine: Engine) -> None:
    """Resources can't move: changing a provider's region replaces it; other settings don't."""

    def replaced(**news: str) -> list[str]:
        olds = to_struct({"region": REGION})
        request = provider_pb2.DiffRequest(old_inputs=olds, olds=olds, news=to_struct(news))
        return list(engine.stub.DiffConfig(request).replaces)

    assert replaced(region="us-west-2") == ["region"]
    assert replaced(region=REGION, defaultTags='{"tags": {"a": "b"}}') == []


@pytest.mark.parametrize(
    ("inputs", "path", "reason"),
    [
        ({"handler": "a.b"}, "role", "missing, but required"),
        ({"role": "r", "timeout": "soon"}, "timeout", "expected a whole number, found text"),
        ({"role": "r", "timeout": 1.5}, "timeout", "expected a whole number, found a number"),
        ({"role": "r", "environment": {"variables": {"A": 1}}}, "environment.variables.A", "expected text"),
        ({"role": "r", "environment": {"variable": {}}}, "environment.variable", "did you mean variables?"),
        ({"role": "r", "architectures": ["arm64", 1]}, "architectures[1]", "expected text"),
        ({"role": "r", "code": "app.zip"}, "code", "expected an archive, found text"),
        ({"role": "r", "layers": ["arn"]}, "layers", "does not implement this input"),
    ],
)
def test_a_wrong_input_is_refused_by_its_path(
    inputs: dict[str, Any], path: str, reason: str, engine: Engine
) -> None:
    """Check names the property and what would be right; never the value, which may be a secret."""
    with pytest.raises(Refused) as refused:
        engine.check("aws:lambda/function:Function", {"name": "f", **inputs})
    assert reason in refused.value.failures[path]


def test_an_unknown_type_is_refused(engine: Engine) -> None:
    """A resource type that is not in the table is named, with those that are."""
    with pytest.raises(grpc.RpcError) as refused:
        engine.check("aws:rds/cluster:Cluster", {})
    assert "aws:rds/cluster:Cluster" in said(refused.value)
    assert QUEUE in said(refused.value)


def test_what_aws_says_reaches_the_operator(engine: Engine) -> None:
    """An error tells what was being done, AWS's code and message, and in which account and region."""
    missing = "http://127.0.0.1/300000000001/no-such-queue"
    with pytest.raises(grpc.RpcError) as refused:
        engine.make("aws:sqs/queuePolicy:QueuePolicy", queueUrl=missing, policy="{}")
    text = said(refused.value)
    for part in ("creating aws:sqs/queuePolicy:QueuePolicy 'it'", "NonExistentQueue", ACCOUNT, REGION):
        assert part in text


def test_a_half_made_resource_stays_in_the_state(engine: Engine) -> None:
    """When what follows a create fails, the engine learns the id, so that nothing is orphaned."""
    with pytest.raises(grpc.RpcError) as refused:
        engine.make("aws:cloudwatch/logGroup:LogGroup", name="/half/made", retentionInDays=2)
    assert isinstance(refused.value, grpc.Call)
    trailer = dict(refused.value.trailing_metadata())["grpc-status-details-bin"]
    found = provider_pb2.ErrorResourceInitFailed()
    assert status_pb2.Status.FromString(trailer).details[0].Unpack(found)
    assert found.id == "/half/made"
    assert "PutRetentionPolicy" in found.reasons[0]


def test_a_program_without_names_gets_them_made_up(engine: Engine) -> None:
    """As upstream: the resource's name and a suffix, the same in preview and update, and kept from then on."""
    first = engine.check(QUEUE, {})
    assert first["name"].startswith("it-")
    assert engine.check(QUEUE, {}) == first
    assert engine.check(QUEUE, {}, olds={"name": "it-before"}) == {"name": "it-before"}


def test_drift_is_seen_and_undone(engine: Engine, sandbox: Project) -> None:
    """What someone changed by hand shows in a refresh, and the next update takes it back."""
    made = engine.make(QUEUE, name="drifting", tags={"a": "1"})
    sqs = boto3.client("sqs", REGION, aws_access_key_id=ACCOUNT, aws_secret_access_key="any")
    sqs.set_queue_attributes(QueueUrl=made.ref, Attributes={"DelaySeconds": "9"})
    sqs.tag_queue(QueueUrl=made.ref, Tags={"b": "2"})
    drifted = engine.read(made)
    assert drifted is not None
    assert drifted.inputs == {"name": "drifting", "delaySeconds": 9, "tags": {"a": "1", "b": "2"}}
    assert engine.diff(drifted, made.inputs).paths == {"delaySeconds": "UPDATE", "tags.b": "DELETE"}
    assert engine.update(drifted, made.inputs).state == made.state


def test_code_replaced_by_hand_is_drift(engine: Engine, sandbox: Project) -> None:
    """AWS doesn't give code back, but its hash tells that it is no longer the program's."""
    role = engine.make("aws:iam/role:Role", name="drift-role", assumeRolePolicy=ASSUME).state["arn"]
    archive = code("def handler(event, context): ...")
    inputs = {"name": "drifting", "role": role, "handler": "a.b", "runtime": "python3.12", "code": archive}
    made = engine.make("aws:lambda/function:Function", **inputs)
    assert (seen := engine.read(made)) is not None
    assert seen.inputs["code"] == archive

    functions = boto3.client("lambda", REGION, aws_access_key_id=ACCOUNT, aws_secret_access_key="any")
    functions.update_function_code(FunctionName="drifting", ZipFile=b"PK\x05\x06" + bytes(18))
    assert (drifted := engine.read(made)) is not None
    assert "code" not in drifted.inputs
    assert engine.diff(drifted, inputs).paths == {"code": "ADD"}
    assert engine.update(drifted, inputs).state["codeSha256"] == made.state["codeSha256"]


def test_new_default_tags_reach_every_resource(connect: Callable[..., Engine]) -> None:
    """The provider's tags are on every resource; changing them is a change of each."""
    one = connect(defaultTags={"tags": {"cell": "a", "by": "provider"}})
    made = one.make(QUEUE, name="tagged", tags={"by": "program"})
    assert made.state["tagsAll"] == {"cell": "a", "by": "program"}
    assert made.state["tags"] == {"by": "program"}
    two = connect(defaultTags={"tags": {"cell": "b"}})
    assert two.diff(made, made.inputs).paths == {"tagsAll": "UPDATE"}
    assert two.update(made, made.inputs).state["tagsAll"] == {"cell": "b", "by": "program"}
    assert one.read(made) is not None
