"""What a release holds of programs' own packages: the lock, and none of the packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from cellwave.errors import BadInput, Unavailable
from cellwave.programs.packages import LOCK
from cellwave.project import Project
from cellwave.releases.build import build_release
from cellwave.releases.open import open_store

PULUMI = f"pulumi=={version('pulumi')}\n"


def test_a_release_holds_the_lock_and_the_machine_the_packages(project: Project) -> None:
    """Locked, tried and said once; built again it is the same release, and nothing is made again."""
    deploy, said = project.root / "deploy", list[str]()
    (deploy / "requirements.txt").write_text(PULUMI)
    (deploy / ".gitignore").write_text("venv/\nrequirements.txt\ncellwave.lock\n")
    release = build_release(project, "v1", report=said.append)
    assert {"deploy/requirements.txt", "deploy/cellwave.lock"} <= release.files.keys()
    assert said == [
        "deploy/cellwave.lock was made of requirements.txt: keep it beside that",
        f"installing the packages of {deploy / 'requirements.txt'}",
    ]
    assert build_release(project, "v1", report=said.append) == release
    assert len(said) == 2
    assert len(list((project.home / "envs").glob("*/pyvenv.cfg"))) == 1
    size = sum(f.stat().st_size for f in open_store(project).path(release.digest).rglob("*") if f.is_file())
    assert size < 200_000  # bytes; the environment has tens of megabytes


def test_what_a_killed_build_left_beside_a_program_is_of_no_release(project: Project) -> None:
    """The lock is written aside first."""
    deploy = project.root / "deploy"
    (deploy / "requirements.txt").write_text(PULUMI)
    (deploy / f"{LOCK}.4711~").write_text("half a lo")
    files = build_release(project, "v1").files
    assert [path for path in files if LOCK in path] == [f"deploy/{LOCK}"]
    assert {file.name for file in deploy.iterdir() if LOCK in file.name} == {LOCK, f"{LOCK}.4711~"}


def test_a_virtual_environment_that_no_file_tells_is_refused(project: Project) -> None:
    """It would not travel with the release; with the lock of what is in it, it need not."""
    deploy = project.root / "deploy"
    (deploy / "Pulumi.yaml").write_text(
        "name: greeter\nruntime: {name: python, options: {virtualenv: venv}}\n"
    )
    subprocess.run([sys.executable, "-m", "uv", "-q", "venv", str(deploy / "venv")], check=True)
    with pytest.raises(BadInput, match=r"deploy/Pulumi.yaml: no file tells the packages of venv"):
        build_release(project, "v1")
    (deploy / "requirements.txt").write_text(PULUMI)
    assert not [path for path in build_release(project, "v1").files if "venv" in path]
    shutil.rmtree(deploy / "venv")
    build_release(project, "v1")


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        (
            "pyproject.toml",
            '[project]\nname = "theirs"\ndependencies = ["pulumi"]\n',
            "no lock tells the packages",
        ),
        (
            "pyproject.toml",
            '[tool.poetry.dependencies]\npython = "^3.11"\npulumi = "*"\n',
            "no lock tells the",
        ),
        ("pyproject.toml", "<<<<<<< HEAD\n", "pyproject.toml can't be read"),
        ("Pipfile", "[packages]\n", "a Pipfile, which is not read"),
        ("pyproject.toml", '[project]\nname = "cellwave"\ndependencies = ["pulumi"]\n', None),
        ("pyproject.toml", '[project]\nname = "theirs"\n[tool.poetry.dependencies]\npython = "3"\n', None),
        ("pyproject.toml", "[tool.ruff]\n", None),
    ],
)
def test_packages_that_a_program_asks_for_without_a_lock_are_refused(
    project: Project, name: str, text: str, error: str | None
) -> None:
    """With cellwave's packages it would work by luck; what asks for none is fine, and what is installed here."""
    (project.root / "deploy" / name).write_text(text)
    if error is None:
        assert f"deploy/{name}" in build_release(project, "v1").files
    else:
        with pytest.raises(BadInput, match=f"deploy/Pulumi.yaml: {error}"):
            build_release(project, "v1")


@pytest.mark.parametrize(
    ("requirements", "error"),
    [
        ("iniconfig\n", "deploy/Pulumi.yaml: requirements.txt has no pulumi"),
        ("pulumi>=3.150,<3.0\n", r"the packages of .*requirements.txt can't be had:\n(?s:.)*pulumi"),
        (f"{PULUMI}no package[\n", r"can't be had:\n(?s:.)*no package\["),
    ],
)
def test_packages_that_can_not_be_had_make_no_release(
    project: Project, requirements: str, error: str
) -> None:
    """In words, and nothing is kept."""
    (project.root / "deploy" / "requirements.txt").write_text(requirements)
    with pytest.raises((BadInput, Unavailable), match=error):
        build_release(project, "v1")
    assert not open_store(project).list()


def test_a_lock_in_the_release_is_the_project_s_own(project: Project, tmp_path: Path) -> None:
    """A link to another place is refused as everywhere in a release."""
    deploy = project.root / "deploy"
    (tmp_path / "there.txt").write_text(PULUMI)
    (deploy / "requirements.txt").symlink_to(tmp_path / "there.txt")
    with pytest.raises(BadInput, match=r"deploy/requirements.txt: a symbolic link"):
        build_release(project, "v1")
