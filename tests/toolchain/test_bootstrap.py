"""`make setup`: a finished set-up is recognised, and trouble is said in words."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cellwave.project import find_project

ROOT = find_project(Path(__file__).parent).root


@pytest.fixture
def bootstrap(tmp_path: Path) -> ModuleType:
    """The script, in a copy of the project that was never set up."""
    (tmp_path / "tools").mkdir()
    for name in ("tools/bootstrap.py", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    spec = importlib.util.spec_from_file_location("bootstrap", tmp_path / "tools" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def finish(bootstrap: ModuleType) -> None:
    """What a finished set-up leaves."""
    bootstrap.PYTHON.parent.mkdir(parents=True)
    bootstrap.PYTHON.symlink_to(sys.executable)
    bootstrap.STAMP.write_text(json.dumps(bootstrap.fingerprint()))


def test_a_finished_setup_is_recognised(bootstrap: ModuleType) -> None:
    """Only the very same lock file, project and Python count."""
    assert not bootstrap.is_done()
    finish(bootstrap)
    assert bootstrap.is_done()
    bootstrap.LOCK.write_text(bootstrap.LOCK.read_text() + "# changed\n")
    assert not bootstrap.is_done()


def test_a_setup_killed_in_the_middle_is_not_done(bootstrap: ModuleType) -> None:
    """The stamp is written last, and a torn one does not count."""
    finish(bootstrap)
    bootstrap.STAMP.write_text("{")
    assert not bootstrap.is_done()


def test_an_old_python_is_told_what_to_use(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The needed version and the found one are named."""
    monkeypatch.setattr(bootstrap, "OLDEST", (99, 0))
    assert bootstrap.main() == 2
    said = capsys.readouterr().err
    assert "99.0 or newer" in said
    assert "make PYTHON=" in said


def test_a_python_without_ensurepip_is_told_the_package(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no virtual environment can be made, Debian's package is named."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(SystemExit):
        bootstrap.make_venv()
    assert "python3-venv" in capsys.readouterr().err
    assert not bootstrap.VENV.exists()


def test_every_pin_has_a_hash() -> None:
    """Nothing is installed that the lock file does not know by its content."""
    text = (ROOT / "requirements.lock").read_text() + (ROOT / "tools" / "go.txt").read_text()
    pins = [block for block in text.split("\n") if "==" in block and not block.startswith("#")]
    assert pins
    assert all(block.endswith("\\") for block in pins)
