"""Programs that know nothing of cells, run by the engine in the accounts and regions of two cells."""

from __future__ import annotations

import json
import os
import sys
import uuid
from pathlib import Path

import boto3
import pytest

from cellwave.deploy.port import Deployer, Job, Result
from cellwave.fleet.model import Isolation, Place
from cellwave.releases.build import freeze
from cellwave.releases.store import write_folder
from cellwave.releases.verify import verify_release
from tests.deploy.worlds import RealWorld

pytestmark = pytest.mark.engine

EAST = ("200000000021", "us-east-1")
WEST = ("200000000022", "eu-west-1")
QUEUE = """
import pulumi, pulumi_aws as aws
jobs = aws.sqs.Queue("jobs", name="jobs-" + pulumi.get_stack().replace(".", "-"))
pulumi.export("arn", jobs.arn)
"""
ESCAPE = """
other = aws.Provider("other", region="us-east-1", {more})
aws.sqs.Queue("away", name="away-" + pulumi.get_stack().replace(".", "-"), opts=pulumi.ResourceOptions(provider=other))
"""
LATE = """
aws.sqs.Queue("late", region=jobs.arn.apply(lambda _: "us-west-2"))
"""


def role(where: tuple[str, str]) -> str:
    """The role that opens an account."""
    return f"arn:aws:iam::{where[0]}:role/cellwave-deploy"


def place(where: tuple[str, str]) -> Place:
    """A cell that a role opens, as in a fleet."""
    return Place(cell="here", account=where[0], aws_region=where[1], role=role(where))


def deploy(
    deployer: Deployer,
    folder: Path,
    stack: str,
    where: tuple[str, str],
    *,
    release: str = "",
    isolation: Isolation | None = None,
) -> Result:
    """Run the program in a folder, which may be a release's, in a cell."""
    job = Job(
        attempt=str(uuid.uuid4()),
        stack=stack,
        operation="up",
        program=str(folder),
        source=str(folder),
        release=release,
        place=place(where),
        isolation=isolation,
    )
    return deployer.run(job, progress=lambda event: None, aborted=lambda: False)


def up(
    deployer: Deployer,
    folder: Path,
    where: tuple[str, str],
    program: str,
    isolation: Isolation | None = None,
) -> tuple[str, Result]:
    """Deploy a program into a cell; the stack's name and what came of it."""
    folder.mkdir(exist_ok=True)
    (folder / "Pulumi.yaml").write_text("name: other\nruntime: python\n")
    (folder / "__main__.py").write_text(program)
    stack = f"{where[1]}-{uuid.uuid4().hex[:8]}.app"
    return stack, deploy(deployer, folder, stack, where, isolation=isolation)


def queues(where: tuple[str, str], stack: str) -> list[str]:
    """The names of the queues of a stack in an account and region, read from outside."""
    account, aws_region = where
    urls = (
        boto3.Session(account, "secret", region_name=aws_region)
        .client("sqs")
        .list_queues()
        .get("QueueUrls", [])
    )
    name = stack.replace(".", "-")
    return sorted(url.rsplit("/", 1)[-1] for url in urls if name in url)


def stand_in(folder: Path, language: str) -> Path:
    """A folder for PATH with a host for a language that has none here: it runs the __main__.py beside Pulumi.yaml."""
    host = folder / "bin" / f"pulumi-language-{language}"
    host.parent.mkdir()
    host.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m cellwave.toolchain.language_host "$@"\n')
    host.chmod(0o755)
    return host.parent


@pytest.fixture
def deployer(engine_world: RealWorld) -> Deployer:
    """The engine's."""
    return engine_world.deployer()


@pytest.mark.parametrize("src", ["app/src", "src"])
def test_a_program_imports_from_src_beside_its_pulumi_yaml_or_from_the_project_s(
    deployer: Deployer, tmp_path: Path, src: str
) -> None:
    """A program below a project is as by a literal `pulumi up`; several may share the project's own."""
    (tmp_path / src / "words").mkdir(parents=True)
    (tmp_path / src / "words" / "__init__.py").write_text("said = 'hello'\n")
    (tmp_path / "app").mkdir(exist_ok=True)
    (tmp_path / "app" / "Pulumi.yaml").write_text("name: other\nruntime: python\n")
    (tmp_path / "app" / "__main__.py").write_text("import pulumi, words\npulumi.export('said', words.said)\n")
    job = Job(
        attempt=str(uuid.uuid4()),
        stack=f"src-{uuid.uuid4().hex[:8]}.app",
        operation="up",
        program=str(tmp_path / "app"),
        source=str(tmp_path),
    )
    result = deployer.run(job, progress=lambda event: None, aborted=lambda: False)
    assert result.outputs == {"said": "hello"}, result.reason


@pytest.mark.parametrize("where", [EAST, WEST])
def test_a_program_that_knows_no_cell_is_deployed_into_its_cell(
    deployer: Deployer, tmp_path: Path, where: tuple[str, str]
) -> None:
    """Not into the account and region of the shell."""
    stack, result = up(deployer, tmp_path, where, QUEUE)
    assert result.outcome == "succeeded", result.reason
    account, aws_region = where
    name = f"jobs-{stack.replace('.', '-')}"
    assert result.outputs == {"arn": f"arn:aws:sqs:{aws_region}:{account}:{name}"}
    assert queues(where, stack) == [name]


@pytest.mark.parametrize(
    ("more", "where", "why"),
    [
        ("", EAST, f"nothing holds its provider other to account {EAST[0]}"),
        (
            f"assume_roles=[{{'roleArn': '{role(WEST)}'}}]",
            EAST,
            f"nothing holds its provider other to account {EAST[0]}",
        ),
        (f"assume_roles=[{{'roleArn': '{role(WEST)}'}}]", WEST, "its provider other is for us-east-1"),
        # The provider itself sees that the shell's account is another.
        (f"allowed_account_ids=['{WEST[0]}']", WEST, "is not allowed here"),
    ],
)
def test_a_provider_of_its_own_that_leaves_the_cell_is_refused(
    deployer: Deployer, tmp_path: Path, more: str, where: tuple[str, str], why: str
) -> None:
    """In words, and before anything is made: what is right stays undone too."""
    stack, result = up(deployer, tmp_path, where, QUEUE + ESCAPE.format(more=more))
    assert result.outcome in ("refused", "failed")
    assert why in result.reason
    assert queues(where, stack) == queues(EAST, stack) == queues(WEST, stack) == []


def test_a_provider_of_its_own_inside_the_cell_is_welcome(deployer: Deployer, tmp_path: Path) -> None:
    """It is held to the cell's account, and is for its region."""
    inside = ESCAPE.format(more=f"assume_roles=[{{'roleArn': '{role(EAST)}'}}]")
    stack, result = up(deployer, tmp_path, EAST, QUEUE + inside)
    assert result.outcome == "succeeded", result.reason
    assert len(queues(EAST, stack)) == 2


def test_a_region_that_is_known_too_late_for_a_preview_fails_the_step(
    deployer: Deployer, tmp_path: Path
) -> None:
    """The state is looked at when the engine is done: every resource, whatever said where it goes."""
    _, result = up(deployer, tmp_path, WEST, QUEUE + LATE)
    assert result.outcome == "failed"
    assert "Queue late is in us-west-2, not in eu-west-1" in result.reason


OPEN = """
import json
anyone = {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}
name = "open-" + pulumi.get_stack().replace(".", "-")
aws.iam.Role("open", name=name, assume_role_policy=json.dumps({"Statement": [anyone]}))
"""
OPEN_LATE = """
import json
anyone = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage"}
aws.sqs.QueuePolicy("open", queue_url=jobs.url, policy=jobs.arn.apply(
    lambda arn: json.dumps({"Statement": [{**anyone, "Resource": arn}]})))
"""
STRICT = Isolation(strict=True)


def test_what_lets_others_in_is_refused_before_anything_is_made(deployer: Deployer, tmp_path: Path) -> None:
    """By a service that is strict; the attempt says which resource, what of it, the rule, and what would be right."""
    stack, result = up(deployer, tmp_path, WEST, QUEUE + OPEN, STRICT)
    assert (result.outcome, result.fault) == ("refused", "release")
    assert "aws:iam/role:Role open lets anyone in (*) (principal); right would be: " in result.reason
    assert [finding.rule for finding in result.findings] == ["principal"]
    assert queues(WEST, stack) == []
    assert deploy(deployer, tmp_path, stack, WEST, isolation=Isolation()).outcome == "succeeded"


def test_what_nobody_could_know_beforehand_lets_nobody_in_unseen(deployer: Deployer, tmp_path: Path) -> None:
    """The state is looked at by the same rules when the engine is done."""
    _, result = up(deployer, tmp_path, WEST, QUEUE + OPEN_LATE, STRICT)
    assert (result.outcome, result.fault) == ("failed", "release")
    assert [finding.rule for finding in result.findings] == ["principal"]


def test_settings_of_the_stack_that_contradict_the_cell_are_refused(
    deployer: Deployer, tmp_path: Path
) -> None:
    """The file, the key, what was found and what would be right; other settings reach the program."""
    program = 'import pulumi\npulumi.export("colour", pulumi.Config("app").require("colour"))\n'
    elsewhere = {"app:colour": "green", "aws:region": "ap-south-1"}
    tmp_path.joinpath("__main__.py").write_text(program)
    tmp_path.joinpath("Pulumi.yaml").write_text("name: other\nruntime: python\n")
    for config, outcome in ((elsewhere, "failed"), ({"app:colour": "green"}, "succeeded")):
        stack = f"here-{uuid.uuid4().hex[:8]}.app"
        tmp_path.joinpath(f"Pulumi.{stack}.yaml").write_text(json.dumps({"config": config}))
        result = deploy(deployer, tmp_path, stack, WEST)
        assert result.outcome == outcome, result.reason
        if outcome == "failed":
            assert (
                result.reason
                == f"Pulumi.{stack}.yaml: aws:region is 'ap-south-1', but cell here is in eu-west-1"
            )
        else:
            assert result.outputs == {"colour": "green"}


def test_a_language_that_has_a_host_is_run_by_it(engine_world: RealWorld, tmp_path: Path) -> None:
    """The engine starts `pulumi-language-go` from PATH with the program's folder; here a stand-in takes its place."""
    deployer = engine_world.restarted(PATH=f"{stand_in(tmp_path, 'go')}:{os.environ['PATH']}")
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: other\nruntime: go\n")
    (folder / "__main__.py").write_text(QUEUE)
    stack = f"go-{uuid.uuid4().hex[:8]}.app"
    for program, outcome in ((QUEUE + ESCAPE.format(more=""), "refused"), (QUEUE, "succeeded")):
        (folder / "__main__.py").write_text(program)
        result = deploy(deployer, folder, stack, WEST)
        assert result.outcome == outcome, result.reason
    assert result.outputs["arn"].startswith(f"arn:aws:sqs:{WEST[1]}:{WEST[0]}:jobs-go-")


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"PULUMI_CONFIG_PASSPHRASE": "another"}, "passphrase is missing or wrong"),
        (
            {"PULUMI_BACKEND_URL": "https://nowhere.invalid", "PULUMI_ACCESS_TOKEN": ""},
            "backend can't be used",
        ),
    ],
)
def test_what_the_host_lacks_is_not_the_program_s_fault(
    engine_world: RealWorld, tmp_path: Path, variables: dict[str, str], why: str
) -> None:
    """It is worth another try once somebody has looked, and condemns nothing. (Without a secret, no passphrase is
    needed.)"""
    secret = QUEUE + 'pulumi.export("hush", pulumi.Output.secret("quiet"))\n'
    stack, _ = up(engine_world.deployer(), tmp_path, EAST, secret)
    result = deploy(engine_world.restarted(**variables), tmp_path, stack, EAST)
    assert (result.outcome, result.fault) == ("failed", "credential"), result.reason
    assert why in result.reason


def test_a_program_changes_nothing_of_its_release(deployer: Deployer, tmp_path: Path) -> None:
    """It runs from a copy; a release whose folder was changed by somebody else is not run at all."""
    writing = """
from pathlib import Path
Path(__file__).with_name("data.txt").write_text("changed")
Path(__file__).with_name("left.txt").write_text("left")
"""
    texts = {
        "Pulumi.yaml": "name: other\nruntime: python\n",
        "__main__.py": writing,
        "data.txt": "as released",
    }
    content = {path: text.encode() for path, text in texts.items()}
    made = freeze("v1", content, ())
    folder = tmp_path / made.digest
    write_folder(folder, made, content)
    stack = f"copy-{uuid.uuid4().hex[:8]}.app"
    result = deploy(deployer, folder, stack, WEST, release=made.digest)
    assert result.outcome == "succeeded", result.reason
    assert not verify_release(folder)
    (folder / "data.txt").write_text("tampered with")
    result = deploy(deployer, folder, stack, WEST, release=made.digest)
    assert result.outcome == "failed"
    assert "was changed: changed: data.txt" in result.reason
