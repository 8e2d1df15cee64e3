"""How an engine gets into `.cellwave/bin`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cellwave.errors import Unavailable
from cellwave.project import Project
from cellwave.toolchain import install
from cellwave.toolchain.install import ensure_engine
from tests.toolchain.conftest import Script

PULUMI = '#!/bin/sh\n[ "$1" = version ] && echo v3.259.0\n'
# Answers `go env GOVERSION`; `go install` "compiles" two packages, counts itself, and leaves a pulumi in GOBIN.
GO = f"""
if [ "$1" = env ]; then echo go1.26.1; exit; fi
echo "go: downloading something v1.0.0" >&2
echo one >&2; echo two >&2; echo x >> "$COUNT"
mkdir -p "$GOBIN"
cat > "$GOBIN/pulumi" <<'END'
{PULUMI}END
chmod 755 "$GOBIN/pulumi"
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
    """What a killed installer left goes with the next one."""
    left = project.bin.parent / "engine-left"
    left.mkdir(parents=True)
    (left / "half").touch()
    ensure_engine(project, lambda line: None)
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
    assert (project.bin / "pulumi-language-python").exists()
    (project.bin / "pulumi-language-python").unlink()
    script(tmp_path / "bin" / "pulumi-language-python", "\n")
    ensure_engine(project, lambda line: None)
    assert not (project.bin / "pulumi-language-python").exists()


def test_a_module_without_the_engine_is_said(project: Project) -> None:
    """A go.mod that pins no engine names itself."""
    module = project.root / "tools" / "pulumi"
    (module / "go.mod").write_text("module x\n")
    with pytest.raises(Unavailable, match=r"go\.mod"):
        install.engine_version(module)
