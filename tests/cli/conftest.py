"""A command line in a project of its own, without a sandbox."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cellwave.cli.main import main

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of this project, with an empty state backend of its own."""
    root = tmp_path / "project"
    root.mkdir()
    for name in ("Pulumi.yaml", "waves.yaml", "requirements.lock"):
        shutil.copy(ROOT / name, root)
    for name in ("cells", "src"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    backend = tmp_path / "state"
    backend.mkdir()
    (root / ".cellwave").mkdir()
    (root / ".cellwave" / "bin").symlink_to(ROOT / ".cellwave" / "bin")
    for name in [n for n in os.environ if n.startswith(("AWS_", "PULUMI_", "CELLWAVE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(root)
    monkeypatch.setenv("CELLWAVE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{backend}")
    monkeypatch.setenv("CELLWAVE_ACTOR", "ann")
    monkeypatch.setenv("COLUMNS", "200")
    return root


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `cellwave` with arguments, in this process."""

    def call(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["cellwave", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return Ran(int(str(code or 0)), out, err)

    return call
