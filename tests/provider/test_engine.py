"""The real engine, a literal program, and the provider between them and the emulator."""

from __future__ import annotations

import io
import json
import os
import subprocess
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from cellwave.project import Project

pytestmark = pytest.mark.engine

HOME, NEAR, FAR = "200000000000", "300000000004", "300000000005"
SECRET = "a-text-that-no-file-may-hold"

PROGRAM = f"""
import os
import pulumi, pulumi_aws as aws

def provider(name, region, account):
    return pulumi.ResourceOptions(provider=aws.Provider(
        name, region=region, access_key=account, secret_key="any", allowed_account_ids=[account],
        default_tags={{"tags": {{"provider": name}}}}))

near, far = provider("near", "ap-south-1", "{NEAR}"), provider("far", "us-west-2", "{FAR}")
queues = {{name: aws.sqs.Queue(name, name="engine", opts=opts)
          for name, opts in (("home", None), ("near", near), ("far", far))}}
role = aws.iam.Role("role", name="engine", assume_role_policy={{
    "Version": "2012-10-17",
    "Statement": [{{
        "Effect": "Allow", "Principal": {{"Service": "lambda.amazonaws.com"}}, "Action": "sts:AssumeRole"}}],
}}, opts=near)
function = aws.lambda_.Function(
    "function", name="engine", role=role.arn, runtime="python3.12", handler="app.handler", publish=True,
    code=pulumi.AssetArchive({{"app.py": pulumi.StringAsset(os.environ["CODE"])}}),
    environment={{"variables": {{"KEY": pulumi.Output.secret("{SECRET}")}}}}, opts=near)
alias = aws.lambda_.Alias(
    "live", name="live", function_name=function.name, function_version=function.version, opts=near)
if "IMPORT" in os.environ:
    aws.sns.Topic("topic", name="engine", opts=pulumi.ResourceOptions(import_=os.environ["IMPORT"]))
for name, queue in queues.items():
    pulumi.export(name, queue.arn)
pulumi.export("version", alias.function_version)
pulumi.export("caller", aws.get_caller_identity().account_id)
"""
RELATIVE = """
import pulumi, pulumi_aws as aws
bucket = aws.s3.Bucket("bucket", bucket="relative")
aws.s3.BucketObjectv2("note", bucket=bucket.id, key="note", source=pulumi.FileAsset("./note.txt"))
aws.s3.BucketObjectv2("zip", bucket=bucket.id, key="zip", source=pulumi.FileArchive("code"))
"""


@dataclass
class Stack:
    """A stack of the program, driven by the CLI."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(self, *command: str, **env: str) -> str:
        """Run a command of the CLI; its output. AssertionError with it when it fails."""
        done = subprocess.run(
            ["pulumi", *command, "--stack", "engine", "--non-interactive"],
            cwd=self.folder,
            env={**os.environ, **self.env, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def change(self, operation: str, **env: str) -> dict[str, int]:
        """Up, refresh or destroy; how many resources of each kind of change."""
        output = self.run(operation, "--yes", "--skip-preview", "--json", **env)
        events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        summary = next(event["summaryEvent"] for event in events if "summaryEvent" in event)
        return {kind: count for kind, count in summary["resourceChanges"].items() if count}

    def outputs(self) -> Any:
        """The stack's outputs."""
        return json.loads(self.run("stack", "output", "--json"))


@pytest.fixture
def stack(sandbox: Project, provider: int, tmp_path: Path) -> Stack:
    """A new stack whose engine attaches to the provider under test."""
    folder, state = tmp_path / "program", tmp_path / "state"
    folder.mkdir()
    state.mkdir()
    (folder / "Pulumi.yaml").write_text("name: engine\nruntime: python\n")
    (folder / "__main__.py").write_text(PROGRAM)
    made = Stack(
        folder,
        {
            "PULUMI_BACKEND_URL": f"file://{state}",
            "PULUMI_DEBUG_PROVIDERS": f"aws:{provider}",
            "CODE": "def handler(event, context): return 1",
        },
    )
    made.run("stack", "init")
    return made


def test_a_stack_lives_from_up_to_destroy(stack: Stack, tmp_path: Path) -> None:
    """Up, nothing to do, new code behind the alias, nothing drifted, an import, destroy; and no secret in the state."""
    assert stack.change("up") == {"create": 9}
    assert stack.outputs() == {
        "home": f"arn:aws:sqs:us-east-1:{HOME}:engine",
        "near": f"arn:aws:sqs:ap-south-1:{NEAR}:engine",
        "far": f"arn:aws:sqs:us-west-2:{FAR}:engine",
        "version": "1",
        "caller": HOME,
    }
    assert stack.change("up") == {"same": 9}

    new = "def handler(event, context): return 2"
    preview = stack.run("preview", "--diff", CODE=new)
    assert "functionVersion" in preview
    assert stack.change("up", CODE=new) == {"same": 7, "update": 2}
    assert stack.outputs()["version"] == "2"
    functions = boto3.client("lambda", "ap-south-1", aws_access_key_id=NEAR, aws_secret_access_key="any")
    answer = functions.invoke(FunctionName="engine", Qualifier="live")
    assert json.loads(answer["Payload"].read()) == 2
    assert stack.change("refresh") == {"same": 9}

    topic = boto3.Session().client("sns", "us-east-1").create_topic(Name="engine")["TopicArn"]
    assert stack.change("up", CODE=new, IMPORT=topic) == {"same": 9, "import": 1}
    assert stack.change("up", CODE=new, IMPORT=topic) == {"same": 10}

    states = [path.read_text() for path in (tmp_path / "state").rglob("*.json")]
    assert any("engine" in text for text in states)
    assert not any(SECRET in text for text in states)
    assert stack.change("destroy") == {"delete": 10}


def test_relative_paths_are_meant_from_the_program_s_folder(stack: Stack) -> None:
    """As with a plugin that the engine starts there: `main` below the project, whatever folder the shell is in."""
    app = stack.folder / "app"
    (app / "code").mkdir(parents=True)
    (app / "note.txt").write_text("from a file")
    (app / "code" / "app.py").write_text("from a folder")
    (app / "__main__.py").write_text(RELATIVE)
    (stack.folder / "Pulumi.yaml").write_text("name: engine\nruntime: python\nmain: app\n")
    assert stack.change("up") == {"create": 4}
    assert stack.change("up") == {"same": 4}
    s3 = boto3.Session().client("s3", "us-east-1")  # not with what another test's variables said
    assert s3.get_object(Bucket="relative", Key="note")["Body"].read() == b"from a file"
    packed = zipfile.ZipFile(io.BytesIO(s3.get_object(Bucket="relative", Key="zip")["Body"].read()))
    assert packed.read("app.py") == b"from a folder"
    assert stack.change("destroy") == {"delete": 4}
