"""A project and its stacks' settings are found where the engine finds them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from cellwave.deploy.port import Job
from cellwave.deploy.prepare import prepare_work
from cellwave.programs.settings import PROJECT_FILES, configured, project_file, project_of, settings_file
from cellwave.project import find_project

STACK = "us-west-2.jobs"
PROJECT = {"name": "jobs", "runtime": "yaml"}


def write(file: Path, value: object, mark: str = "") -> None:
    """JSON, which is YAML too."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(mark + json.dumps(value), "utf-8")


def engines_settings(folder: Path) -> Path:
    """The file that the engine writes a stack's configuration to."""
    (folder / "state").mkdir(exist_ok=True)
    before = {path for path in folder.rglob("*") if "state" not in path.parts}
    pulumi = next(find_project().bin.glob("pulumi"))
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PULUMI_HOME": str(folder / "state" / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "x",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    for arguments in (["stack", "init", STACK], ["config", "set", "colour", "green", "--stack", STACK]):
        subprocess.run([pulumi, *arguments], cwd=folder, env=env, check=True, capture_output=True)
    (made,) = {path for path in folder.rglob("Pulumi.*") if "state" not in path.parts} - before
    return made


@pytest.mark.engine
@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["Pulumi.yaml"], {}),
        (["Pulumi.yml"], {}),
        (["Pulumi.json"], {}),
        (["Pulumi.yml", "Pulumi.yaml"], {}),
        (["Pulumi.yaml", "Pulumi.json"], {}),
        (["Pulumi.yml"], {"stackConfigDir": "stacks"}),
        (["Pulumi.yaml"], {"config": "stacks"}),
        (["Pulumi.yaml"], {"config": {"jobs:colour": "red"}, "stackConfigDir": "stacks"}),
    ],
)
def test_settings_are_where_the_engine_writes_them(
    tmp_path: Path, files: list[str], said: dict[str, object]
) -> None:
    """By the file that it chooses among several, and whatever that says of the place."""
    for file in files:
        write(tmp_path / file, PROJECT | said)
    (tmp_path / "stacks").mkdir()
    found = settings_file(tmp_path, STACK)
    assert found == engines_settings(tmp_path)
    assert list(configured(found)["config"].values()) == ["green"]


def test_the_project_file_is_the_first_that_the_engine_looks_for(tmp_path: Path) -> None:
    """A folder of that name is none; a byte-order mark is no part of it."""
    for name in reversed(PROJECT_FILES):
        write(tmp_path / name, PROJECT | {"name": name}, mark="\ufeff")
        assert project_file(tmp_path) == tmp_path / name
        assert project_of(tmp_path)["name"] == name
    (tmp_path / "other" / "Pulumi.json").mkdir(parents=True)
    assert project_file(tmp_path / "other") is None


def test_two_folders_of_settings_are_refused(tmp_path: Path) -> None:
    """As the engine does."""
    write(tmp_path / "Pulumi.yaml", PROJECT | {"config": "a", "stackConfigDir": "b"})
    with pytest.raises(ValueError, match="both config and stackConfigDir"):
        settings_file(tmp_path, STACK)


@pytest.mark.parametrize("file", PROJECT_FILES)
@pytest.mark.parametrize("said", [{}, {"stackConfigDir": "stacks"}, {"config": "stacks"}], ids=str)
def test_a_deployment_has_what_a_literal_up_would_read(
    tmp_path: Path, file: str, said: dict[str, object]
) -> None:
    """The engine's work folder holds the program's project and the stack's configuration, beside each other."""
    source, work = tmp_path / "source", tmp_path / "work"
    work.mkdir()
    write(source / file, PROJECT | said)
    write(settings_file(source, STACK), {"config": {"jobs:colour": "green"}})
    job = Job(attempt="a", stack=STACK, operation="up", program=str(source), source=str(source))
    assert prepare_work(job, work, tmp_path) == ("jobs", None, None)
    assert project_of(work) == PROJECT | {"main": str(source)}
    assert configured(settings_file(work, STACK)) == {"config": {"jobs:colour": "green"}}
