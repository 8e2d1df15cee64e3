"""A unit for systemd: whole paths, the shell's variables without its secrets, and the same again the second time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from cellwave.cli.main import main
from cellwave.usecases.installing import quoted, variables
from tests.cli.conftest import copy_of_this, work_in

SECRETS = {
    "CELLWAVE_DATABASE_URL": "postgresql://ann:hunter2@db/cellwave",
    "AWS_SECRET_ACCESS_KEY": "hunter3",
    "AWS_SESSION_TOKEN": "hunter4",
    "PULUMI_CONFIG_PASSPHRASE": "hunter5",
}


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a person's units are, for a shell in a project."""
    work_in(copy_of_this(tmp_path), monkeypatch)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "systemd" / "user"


def install(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Type it; all that was said."""
    monkeypatch.setattr(sys, "argv", ["cellwave", "worker", "--install"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    out, err = capsys.readouterr()
    return out + err


def test_the_unit_starts_this_projects_worker_and_holds_no_secret(
    units: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker needs of the shell is in it; secrets are named, with the file that is to hold them."""
    for name, value in {**SECRETS, "AWS_PROFILE": "prod 100%"}.items():
        monkeypatch.setenv(name, value)
    said = install(capsys, monkeypatch)
    [unit] = units.iterdir()
    text = unit.read_text()
    assert f'ExecStart="{sys.executable}" -m cellwave.cli.main worker\n' in text
    assert f"WorkingDirectory={os.getcwd()}\n" in text
    assert f'Environment="PULUMI_BACKEND_URL={os.environ["PULUMI_BACKEND_URL"]}"\n' in text
    assert f'Environment="CELLWAVE_HOME={os.environ["CELLWAVE_HOME"]}"\n' in text
    assert 'Environment="AWS_PROFILE=prod 100%%"\n' in text
    assert f"EnvironmentFile=-{os.environ['CELLWAVE_HOME']}/worker.env\n" in text
    assert "hunter" not in text + said
    assert all(name in said for name in SECRETS)
    assert f"enable --now {unit.name}" in said


def test_installed_again_nothing_changes(
    units: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless what it would say is another thing."""
    install(capsys, monkeypatch)
    [unit] = units.iterdir()
    before = unit.stat().st_mtime_ns
    assert "unchanged" in install(capsys, monkeypatch)
    assert unit.stat().st_mtime_ns == before
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert "wrote" in install(capsys, monkeypatch)
    assert "AWS_PROFILE=other" in unit.read_text()


def test_a_file_that_holds_a_secret_is_none() -> None:
    """Its name may be told; a URL is judged by what is in it."""
    kept, secret = variables(
        {
            "PULUMI_CONFIG_PASSPHRASE_FILE": "/etc/phrase",
            "CELLWAVE_DATABASE_URL": "postgresql://ann@db/cellwave",
            "PULUMI_BACKEND_URL": "postgres://ann:pw@db/state",
            "HOME": "/root",
        }
    )
    assert (sorted(kept), secret) == (
        ["CELLWAVE_DATABASE_URL", "PULUMI_CONFIG_PASSPHRASE_FILE"],
        ("PULUMI_BACKEND_URL",),
    )


@pytest.mark.parametrize(("text", "word"), [('a "b" \\', '"a \\"b\\" \\\\"'), ("50%", '"50%%"')])
def test_any_text_is_one_word_of_a_unit(text: str, word: str) -> None:
    """As systemd reads it."""
    assert quoted(text) == word
