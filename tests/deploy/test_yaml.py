"""YAML programs that know nothing of cells, run by the engine and its own language host."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import boto3
import pytest

from cellwave.deploy.port import Result
from tests.deploy.test_other_programs import EAST, WEST, deploy, queues, role
from tests.deploy.worlds import RealWorld

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("yaml_host")]

QUEUE = """
name: other
runtime: yaml
variables:
  parts: {fn::split: [".", "${pulumi.stack}"]}
  name: ${parts[0]}-${parts[1]}
resources:
  jobs:
    type: aws:sqs:Queue
    properties: {name: "jobs-${name}", visibilityTimeoutSeconds: 45}
outputs:
  arn: ${jobs.arn}
"""
AWAY = """
  other:
    type: pulumi:providers:aws
    properties: {settings}
  away:
    type: aws:sqs:Queue
    properties: {{name: "away-${{name}}"}}
    options: {{provider: "${{other}}"}}
outputs:
"""
# What strangers write: configuration, what AWS is asked, files beside the program, documents and nested types.
STRANGE = """
name: other
runtime: yaml
config:
  colour: {type: string, default: green}
variables:
  account: {fn::invoke: {function: aws:getCallerIdentity, return: accountId}}
  here: {fn::invoke: {function: aws:getRegion}}
  partition: {fn::invoke: {function: aws:getPartition, return: partition}}
resources:
  bucket: {type: aws:s3:Bucket, properties: {tags: {stack: "${pulumi.stack}"}}}
  policy:
    type: aws:s3:BucketPolicy
    properties:
      bucket: ${bucket.id}
      policy:
        fn::toJSON:
          Version: 2012-10-17
          Statement:
            - Effect: Allow
              Principal: {AWS: "arn:${partition}:iam::${account}:root"}
              Action: ["s3:GetObject"]
              Resource: ["${bucket.arn}/*"]
  text:
    type: aws:s3:BucketObjectv2
    properties: {bucket: "${bucket.id}", key: text, source: {fn::stringAsset: "it is ${colour}"}}
  seen: {type: aws:s3:Bucket, get: {id: "${bucket.id}"}}
  note:
    type: aws:s3:BucketObjectv2
    properties: {bucket: "${bucket.id}", key: note, source: {fn::fileAsset: ./note.txt}}
  table:
    type: aws:dynamodb:Table
    properties:
      attributes: [{name: pk, type: S}, {name: sk, type: N}, {name: owner, type: S}]
      hashKey: pk
      rangeKey: sk
      billingMode: PAY_PER_REQUEST
      globalSecondaryIndexes: [{name: by-owner, hashKey: owner, projectionType: ALL}]
  role:
    type: aws:iam:Role
    properties:
      assumeRolePolicy:
        Version: 2012-10-17
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}]
  function:
    type: aws:lambda:Function
    properties:
      role: ${role.arn}
      runtime: python3.12
      handler: app.handler
      code: {fn::fileArchive: ./code}
      environment: {variables: {TABLE: "${table.name}"}}
    options: {dependsOn: ["${policy}"]}
  password: {type: aws:ssm:Parameter, properties: {type: SecureString, value: {fn::secret: hidden}}}
outputs:
  place: ${account} ${here.region}
  bucket: ${seen.bucket}
  attribute: ${table.attributes[1].name}
  function: ${function.name}
  password: ${password.value}
"""


def run(world: RealWorld, folder: Path, where: tuple[str, str], program: str, stack: str = "") -> Result:
    """Deploy a program into a cell."""
    folder.joinpath("Pulumi.yaml").write_text(program)
    return deploy(world.deployer(), folder, stack or named(), where)


def named() -> str:
    """A stack's name that no other test uses."""
    return f"yaml-{uuid.uuid4().hex[:8]}.app"


@pytest.mark.parametrize("where", [EAST, WEST])
def test_a_yaml_program_is_deployed_into_its_cell(
    engine_world: RealWorld, tmp_path: Path, where: tuple[str, str]
) -> None:
    """Its resources are in the cell's account and region; another release changes them, and the first one again."""
    stack = named()
    name = f"jobs-{stack.replace('.', '-')}"
    for seconds, changes in (
        (45, {"create": 2}),
        (60, {"same": 1, "update": 1}),
        (45, {"same": 1, "update": 1}),
    ):
        result = run(engine_world, tmp_path, where, QUEUE.replace("45", str(seconds)), stack)
        assert (result.outcome, result.changes) == ("succeeded", changes), result.reason
        assert result.outputs == {"arn": f"arn:aws:sqs:{where[1]}:{where[0]}:{name}"}
        assert queues(where, stack) == [name]


def test_a_provider_of_its_own_that_leaves_the_cell_is_refused(
    engine_world: RealWorld, tmp_path: Path
) -> None:
    """Another account, or another region: in words, and before anything is made."""
    for settings, where, why in (
        (f"{{region: {EAST[1]}}}", EAST, f"nothing holds its provider other to account {EAST[0]}"),
        (
            f"{{region: {EAST[1]}, assumeRoles: [{{roleArn: '{role(WEST)}'}}]}}",
            WEST,
            "its provider other is for us-east-1",
        ),
    ):
        stack = named()
        program = QUEUE.replace("outputs:\n", AWAY.format(settings=settings))
        result = run(engine_world, tmp_path, where, program, stack)
        assert result.outcome == "refused"
        assert why in result.reason
        assert queues(where, stack) == queues(EAST, stack) == queues(WEST, stack) == []


def test_what_strangers_write_is_deployed(engine_world: RealWorld, tmp_path: Path) -> None:
    """Every function of the language that a program of AWS may need, and nothing is changed by a second time."""
    tmp_path.joinpath("note.txt").write_text("a file beside the program")
    tmp_path.joinpath("code").mkdir()
    tmp_path.joinpath("code", "app.py").write_text("def handler(event, context):\n    return 'hi'\n")
    stack = named()
    for operation in ("create", "same"):
        result = run(engine_world, tmp_path, WEST, STRANGE, stack)
        assert (result.outcome, result.changes) == ("succeeded", {operation: 9}), result.reason
    assert result.outputs["place"] == " ".join(WEST)
    assert result.outputs["attribute"] == "sk"
    assert "password" not in result.outputs
    session = boto3.Session(WEST[0], "secret", region_name=WEST[1])
    s3, bucket = session.client("s3"), result.outputs["bucket"]
    texts = [s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in ("text", "note")]
    assert texts == ["it is green", "a file beside the program"]
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    assert policy["Version"] == "2012-10-17"
    assert policy["Statement"][0]["Principal"]["AWS"] == f"arn:aws:iam::{WEST[0]}:root"
    answer = session.client("lambda").invoke(FunctionName=result.outputs["function"])
    assert json.loads(answer["Payload"].read()) == "hi"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("visibilityTimeoutSeconds", "visibility", ("Property visibility does not exist", "line 10")),
        ("visibilityTimeoutSeconds: 45", "visibilityTimeoutSeconds: [1]", ("Cannot assign", "line 10")),
        ("aws:sqs:Queue", "aws:sqs:Queeu", ('unable to find resource type "aws:sqs:Queeu"', "line 9")),
        ("${jobs.arn}", "${jobs.ran}", ("ran does not exist on jobs", "line 12")),
        ("${jobs.arn}", "${jbos.arn}", ('"jbos" could not be found', "line 12")),
    ],
)
def test_a_mistake_is_told_in_the_language_s_own_words(
    engine_world: RealWorld, tmp_path: Path, old: str, new: str, said: tuple[str, str]
) -> None:
    """What is wrong, in which file and line."""
    assert old in QUEUE
    result = run(engine_world, tmp_path, WEST, QUEUE.replace(old, new))
    assert result.outcome == "failed"
    assert all(words in result.reason for words in (*said, "on Pulumi.yaml")), result.reason
