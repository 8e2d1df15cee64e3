"""Which Pulumi engine is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellwave.errors import Unavailable
from cellwave.project import Project
from cellwave.toolchain.engine import find_engine, numbers, require_engine
from tests.toolchain.conftest import Script


def says(version: str) -> str:
    """The text of a script that is a Pulumi of that version."""
    return f'[ "$1" = version ] && echo {version}\n'


def test_the_path_comes_first(project: Project, tmp_path: Path, script: Script) -> None:
    """An engine on PATH that is new enough is preferred to the project's own."""
    script(project.bin / "pulumi", says("v3.259.0"))
    mine = script(tmp_path / "bin" / "pulumi", says("v3.300.1"))
    found = find_engine(project)
    assert found is not None
    assert (found.path, found.version) == (mine, "3.300.1")


@pytest.mark.parametrize("version", ["v3.9.0", "nonsense", ""])
def test_an_unusable_one_is_passed_over(
    project: Project, tmp_path: Path, script: Script, version: str
) -> None:
    """One that is too old, or answers nothing, is not used."""
    script(tmp_path / "bin" / "pulumi", says(version))
    assert find_engine(project) is None
    script(project.bin / "pulumi", says("v3.259.0"))
    assert find_engine(project) is not None


def test_one_that_cannot_run_is_passed_over(project: Project, script: Script) -> None:
    """A broken file is no engine."""
    script(project.bin / "pulumi", "exit 3\n")
    assert find_engine(project) is None


def test_a_missing_engine_is_said_with_what_helps(project: Project) -> None:
    """Who needs an engine and has none learns how to get one."""
    with pytest.raises(Unavailable) as caught:
        require_engine(project)
    assert "make setup" in caught.value.hint


def test_versions_compare_by_number() -> None:
    """3.99 is older than 3.150; a development build counts as its release."""
    assert numbers("v3.99.1") < numbers("3.150.0") == numbers("v3.150.0-dev.1")
    assert numbers("go1.26") == (1, 26, 0)
    assert numbers("none") == ()


def test_one_that_did_not_answer_once_is_asked_again(
    project: Project, script: Script, tmp_path: Path
) -> None:
    """A worker lives for days: one that was killed, or too slow on a busy machine, is not gone for all that time."""
    silent = tmp_path / "silent"
    silent.touch()
    script(project.bin / "pulumi", f"[ -e {silent} ] && kill -9 $$; echo v3.259.0")
    assert find_engine(project) is None
    silent.unlink()
    found = find_engine(project)
    assert found is not None
    assert found.version == "3.259.0"
