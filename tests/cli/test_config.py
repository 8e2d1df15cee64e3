"""`cellwave config write`: the cell's place in Pulumi's own settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.cli.conftest import Run

STACK = ".cellwave/stacks/Pulumi.us-west-2.ingest.yaml"


def test_every_stack_gets_its_cells_account_region_and_role(project: Path, run: Run) -> None:
    """The control plane's too; said file by file."""
    ran = run("config", "write")
    assert ran.code == 0
    assert f"written   {STACK}" in ran.out.splitlines()
    assert len(ran.out.splitlines()) == 6 * 5 + 1
    config = YAML(typ="safe").load((project / STACK).read_text())["config"]
    assert config["aws:region"] == config["aws-native:region"] == "us-west-2"
    assert config["aws:allowedAccountIds"] == ["200000000003"]
    role = "arn:aws:iam::200000000003:role/cellwave-deploy"
    assert config["aws:assumeRoles"] == [{"roleArn": role, "sessionName": "cellwave-us-west-2.ingest"}]


def test_what_else_a_file_says_stays(project: Path, run: Run) -> None:
    """Comments, other settings and the stack's encryption; a second time nothing is to be done."""
    file = project / STACK
    file.parent.mkdir(parents=True)
    file.write_text(
        "# ours\nencryptionsalt: v1:abc\nconfig:\n  audit:colour: green # why\n  aws:region: us-east-1\n"
    )
    first = json.loads(run("config", "write", "us-west-2.ingest", "--json").out)
    assert first == [{"stack": "us-west-2.ingest", "file": STACK, "changed": True}]
    text = file.read_text()
    assert all(
        kept in text for kept in ("# ours\n", "encryptionsalt: v1:abc\n", "audit:colour: green # why\n")
    )
    assert YAML(typ="safe").load(text)["config"]["aws:region"] == "us-west-2"
    assert json.loads(run("config", "write", "us-west-2.ingest", "--json").out)[0]["changed"] is False
    assert file.read_text() == text


def test_settings_in_json_stay_json(project: Path, run: Run) -> None:
    """Beside a Pulumi.json the engine reads a stack's settings as JSON."""
    (project / "Pulumi.json").write_text('{"name": "audit", "runtime": "python"}')
    file = project / "Pulumi.us-west-2.ingest.json"
    file.write_text('{\n\t"config": {\n\t\t"audit:colour": "gr\u00fcn"\n\t}\n}\n')
    assert run("config", "write", "us-west-2.ingest").code == 0
    config = json.loads(file.read_text())["config"]
    assert (config["audit:colour"], config["aws:region"]) == ("gr\u00fcn", "us-west-2")
    assert "unchanged" in run("config", "write", "us-west-2.ingest").out


@pytest.mark.parametrize(
    ("arguments", "text", "error"),
    [
        (("us-wst-2",), "", "did you mean 'us-west-2'?"),
        (("us-west-2",), "config: [\n", f"{STACK}:2: broken YAML"),
        (("us-west-2",), "config: none\n", f"{STACK}:1: config is"),
        (("us-west-2",), "- a\n", f"{STACK}:1: the file holds a list"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(
    project: Path, run: Run, arguments: tuple[str, ...], text: str, error: str
) -> None:
    """Not even the files that could have been."""
    file = project / STACK
    file.parent.mkdir(parents=True)
    file.write_text(text)
    ran = run("config", "write", *arguments)
    assert ran.code == 2
    assert error in ran.err
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_text() == text
