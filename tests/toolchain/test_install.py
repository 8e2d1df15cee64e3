"""How an engine, and the language host for YAML, get into `.cellwave/bin`."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cellwave.errors import Unavailable
from cellwave.project import Project
from cellwave.toolchain import install
from cellwave.toolchain.__main__ import main
from cellwave.toolchain.gobuild import Tool
from cellwave.toolchain.install import ensure_engine, ensure_yaml_host
from tests.toolchain.conftest import Script

PULUMI = '#!/bin/sh\n[ "$1" = version ] && echo v3.259.0\n'
# Answers `go env GOVERSION`; `go install` "compiles" two packages, counts itself, and leaves its program in GOBIN.
GO = f"""
if [ "$1" = env ]; then echo go1.26.1; exit; fi
echo "go: downloading something v1.0.0" >&2
echo one >&2; echo two >&2; echo x >> "$COUNT"
mkdir -p "$GOBIN"
case "$PWD" in */pulumi) made="$GOBIN/pulumi";; *) made="$GOBIN/pulumi-language-yaml";; esac
cat > "$made" <<'END'
{PULUMI}END
chmod 755 "$made"
"""


@pytest.fixture
def go(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Go that pretends; returns the file in which it counts its builds."""
    script(tmp_path / "bin" / "go", GO)
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    return tmp_path / "count"


def test_without_a_network_the_engine_is_built(project: Project, go: Path) -> None:
    """The reason for the build is said, then progress with the packages counted; the language host comes with it."""
    lines: list[str] = []
    engine = ensure_engine(project, lines.append)
    assert (engine.path, engine.version) == (project.bin / "pulumi", "3.259.0")
    assert any("can't be used" in line for line in lines)
    assert any("2 packages, two" in line for line in lines)
    assert "language_host" in (project.bin / "pulumi-language-python").read_text()
    assert {entry.name for entry in project.bin.parent.iterdir()} == {"bin", "engine.lock"}


def test_it_is_built_once(project: Project, go: Path) -> None:
    """Two installers at once build one engine, and a third finds it."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: ensure_engine(project, lambda line: None), range(2)))
    ensure_engine(project, lambda line: None)
    assert go.read_text() == "x\n"


def test_a_failed_build_says_what_the_compiler_said(project: Project, tmp_path: Path, script: Script) -> None:
    """The compiler's last lines are in the error, and nothing half-made is found later."""
    script(
        tmp_path / "bin" / "go", 'if [ "$1" = env ]; then echo go1.26.1; else echo "no proxy" >&2; exit 1; fi'
    )
    with pytest.raises(Unavailable, match="no proxy"):
        ensure_engine(project, lambda line: None)
    assert not (project.bin / "pulumi").exists()
    assert list(project.bin.parent.glob("engine-*")) == []


def test_an_interrupted_install_is_cleared_away(project: Project, go: Path) -> None:
    """What a killed installer left goes with the next one, whether that installs anything or not."""
    left = project.bin.parent / "engine-left"
    for step in (ensure_yaml_host, ensure_yaml_host, ensure_engine, ensure_engine):
        left.mkdir(parents=True)
        (left / "half").touch()
        step(project, lambda line: None)
        assert not left.exists()


def test_the_official_installer_comes_first(
    project: Project, go: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it can be had, its engine and its own language host are used, and nothing is built."""
    installer = tmp_path / "install.sh"
    installer.write_text(
        'while [ "$1" != --install-root ]; do shift; done\nmkdir -p "$2/bin"\n'
        f"cat > \"$2/bin/pulumi\" <<'END'\n{PULUMI}END\n"
        'echo binary > "$2/bin/pulumi-language-python"\nchmod 755 "$2/bin/pulumi"\n'
    )
    monkeypatch.setattr(install, "INSTALLER", installer.as_uri())
    ensure_engine(project, lambda line: None)
    assert not go.exists()
    assert (project.bin / "pulumi-language-python").read_text() == "binary\n"


def test_a_failing_installer_is_no_end(
    project: Project, go: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installer that can't download leaves the build to do."""
    installer = tmp_path / "install.sh"
    installer.write_text("echo nothing to download >&2\nexit 1\n")
    monkeypatch.setattr(install, "INSTALLER", installer.as_uri())
    lines: list[str] = []
    ensure_engine(project, lines.append)
    assert any("nothing to download" in line for line in lines)
    assert go.exists()


def test_a_machine_s_own_engine_gets_a_language_host(
    project: Project, tmp_path: Path, script: Script
) -> None:
    """An engine on PATH that has none beside it finds one in `.cellwave/bin`; one that has is left alone."""
    script(tmp_path / "bin" / "pulumi", '[ "$1" = version ] && echo v3.300.0\n')
    ensure_engine(project, lambda line: None)
    assert {file.name for file in project.bin.iterdir()} == {
        "pulumi-language-python",
        "pulumi-resource-pulumi-python",
    }
    (project.bin / "pulumi-language-python").unlink()
    script(tmp_path / "bin" / "pulumi-language-python", "\n")
    ensure_engine(project, lambda line: None)
    assert not (project.bin / "pulumi-language-python").exists()


def test_the_host_for_yaml_is_built_once(project: Project, go: Path) -> None:
    """By the same way: two at once build one, a third finds it, and the engine's installer leaves it alone."""
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: ensure_yaml_host(project, lambda line: None), range(2)))
    assert {*made, ensure_yaml_host(project, lambda line: None)} == {project.bin / "pulumi-language-yaml"}
    assert go.read_text() == "x\n"
    ensure_engine(project, lambda line: None)
    scripts = {"pulumi-language-python", "pulumi-resource-pulumi-python"}
    assert {"pulumi", "pulumi-language-yaml", *scripts} == {program.name for program in project.bin.iterdir()}
    assert {entry.name for entry in project.bin.parent.iterdir()} == {"bin", "engine.lock"}


def test_a_host_for_yaml_that_is_there_is_kept(
    project: Project, go: Path, tmp_path: Path, script: Script
) -> None:
    """On PATH, for instance as Pulumi's own installer left it: nothing is built."""
    mine = script(tmp_path / "bin" / "pulumi-language-yaml", "\n")
    assert ensure_yaml_host(project, lambda line: None) == mine
    assert not go.exists()


@pytest.mark.parametrize(("arguments", "made"), [([], "pulumi"), (["yaml"], "pulumi-language-yaml")])
def test_the_command_installs_what_it_is_told(
    project: Project, go: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], made: str
) -> None:
    """`python -m cellwave.toolchain` the engine alone, `… yaml` the host for YAML alone."""
    (project.root / "cells").mkdir()
    (project.root / "waves.yaml").touch()
    monkeypatch.chdir(project.root)
    monkeypatch.setattr(sys, "argv", ["toolchain", *arguments])
    assert main() == 0
    assert (project.bin / made).exists()
    assert go.read_text() == "x\n"


@pytest.mark.parametrize("tool", [install.ENGINE, install.YAML_HOST])
def test_a_project_that_pins_no_version_says_so(project: Project, tool: Tool) -> None:
    """A go.mod that pins another module, or none at all, is named, and where the program comes from otherwise."""
    for spoil in (lambda file: file.write_text("module x\n"), Path.unlink):
        spoil(tool.source(project) / "go.mod")
        with pytest.raises(Unavailable, match=f"{tool.folder}/go\\.mod") as caught:
            tool.version(project)
        assert tool.program in caught.value.hint
