"""A project with a toolchain that costs nothing: a Go and an installer that only pretend to work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cellwave.project import Project
from cellwave.toolchain import install

Script = Callable[[Path, str], Path]

GO_MOD = """module tools
go 1.25.11
require (
\t{module} v{version}
)
"""


def write_script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


@pytest.fixture
def script() -> Script:
    """How to write an executable."""
    return write_script


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without an engine or a host, on a machine without a network, a Pulumi or a Go."""
    root = tmp_path / "project"
    for tool, version in ((install.ENGINE, "3.259.0"), (install.YAML_HOST, "1.25.0")):
        (root / "tools" / tool.folder).mkdir(parents=True)
        text = GO_MOD.format(module=tool.module, version=version)
        (root / "tools" / tool.folder / "go.mod").write_text(text)
    (tmp_path / "bin").mkdir()
    for name in ("sh", "cat", "chmod", "mkdir", "sleep"):
        found = next(p for p in (Path("/bin") / name, Path("/usr/bin") / name) if p.exists())
        (tmp_path / "bin" / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(install, "INSTALLER", "http://127.0.0.1:9/install.sh")
    return Project(root)
