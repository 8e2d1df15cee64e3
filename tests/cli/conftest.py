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


def copy_of_this(folder: Path) -> Path:
    """A copy of this project below a folder, with an empty state backend beside it."""
    root = folder / "project"
    root.mkdir()
    for name in ("Pulumi.yaml", "waves.yaml", "requirements.lock"):
        shutil.copy(ROOT / name, root)
    for name in ("cells", "src"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "state").mkdir()
    (root / ".cellwave").mkdir()
    (root / ".cellwave" / "bin").symlink_to(ROOT / ".cellwave" / "bin")
    return root


def work_in(root: Path, patch: pytest.MonkeyPatch) -> None:
    """A shell in that copy."""
    for name in [n for n in os.environ if n.startswith(("AWS_", "PULUMI_", "CELLWAVE_"))]:
        patch.delenv(name)
    patch.chdir(root)
    patch.setenv("CELLWAVE_HOME", str(root.parent / "home"))
    patch.setenv("PULUMI_BACKEND_URL", f"file://{root.parent / 'state'}")
    patch.setenv("CELLWAVE_ACTOR", "ann")
    patch.setenv("COLUMNS", "200")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of this project, with an empty state backend of its own, that the test's shell works in."""
    root = copy_of_this(tmp_path)
    work_in(root, monkeypatch)
    return root


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `cellwave` with arguments, in this process and wherever the test's shell works."""

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


@pytest.fixture
def run(project: Path, run_here: Run) -> Run:
    """Runs `cellwave` with arguments, in this process and in `project`."""
    return run_here
