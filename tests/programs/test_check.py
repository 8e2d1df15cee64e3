"""A program that can't be run here is refused when its release is built or planned, by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellwave.errors import BadInput
from cellwave.fleet.model import Service
from cellwave.programs.check import check_programs
from cellwave.toolchain.hosts import find_host

APP = Service(name="app", program="app")


def checked(root: Path, text: str, *hosts: str) -> None:
    """Look at a program with this Pulumi.yaml, where these language hosts are."""
    (root / "app").mkdir(exist_ok=True)
    (root / "app" / "Pulumi.yaml").write_text(text)
    check_programs(root, [APP], lambda name: name in hosts)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "name: app\nruntime: nodejs\n",
            "app/Pulumi.yaml:2: a nodejs program, but there is no pulumi-language-nodejs",
        ),
        ("name: app\nruntime:\n  name: go\n", "app/Pulumi.yaml:2: a go program"),
        (
            "name: app\nruntime: python\n",
            "app/Pulumi.yaml:1: a Python program, but there is no app/__main__.py",
        ),
        ("name: app\nruntime: python\nmain: src/run.py\n", "app/Pulumi.yaml:3: .*no app/src/run.py"),
        ("name: app\n", "app/Pulumi.yaml:1: it names no runtime"),
        ("runtime: python\n", "app/Pulumi.yaml:1: it names no project"),
        ("name: app\nruntime: [\n", "app/Pulumi.yaml:3: broken YAML"),
        ("- name\n", "app/Pulumi.yaml:1: no mapping"),
    ],
)
def test_what_could_not_be_run_is_refused(tmp_path: Path, text: str, error: str) -> None:
    """The file, the line, what was found, and what would be right."""
    with pytest.raises(BadInput, match=error):
        checked(tmp_path, text, "yaml")


def test_what_can_be_run_is_taken(tmp_path: Path) -> None:
    """A language that has a host; Python with its file or folder; a YAML program with dates in it."""
    checked(
        tmp_path, "name: app\nruntime: yaml\nresources: {a: {properties: {Version: 2012-10-17}}}\n", "yaml"
    )
    (tmp_path / "app" / "__main__.py").touch()
    checked(tmp_path, "name: app\nruntime: python\n")
    (tmp_path / "app" / "run.py").touch()
    checked(tmp_path, "name: app\nruntime: {name: python, options: {virtualenv: venv}}\nmain: run.py\n")


def test_who_lacks_the_host_for_yaml_is_told_what_builds_it(tmp_path: Path) -> None:
    """The one language whose host can be built here."""
    with pytest.raises(BadInput) as caught:
        checked(tmp_path, "name: app\nruntime: yaml\n")
    assert "make yaml" in caught.value.hint


@pytest.mark.parametrize("place", ["on-path", "bin", "pulumi/plugins/language-go-v3.1.0"])
def test_a_host_is_found_where_the_engine_finds_it(tmp_path: Path, place: str) -> None:
    """On PATH, among the project's tools, or installed as a plugin of Pulumi's."""
    environment = {"PATH": str(tmp_path / "on-path"), "PULUMI_HOME": str(tmp_path / "pulumi")}
    assert find_host("go", tmp_path / "bin", environment) is None
    host = tmp_path / place / "pulumi-language-go"
    host.parent.mkdir(parents=True)
    host.touch(mode=0o755)
    assert find_host("go", tmp_path / "bin", environment) == host
