"""Whatever shell, terminal or parent process a command is started from: it works, or says in words what is wrong."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from cellwave.project import Project
from tests.cli.conftest import Run
from tests.postgres.server import Server

CELLWAVE = f"{shlex.quote(sys.executable)} -m cellwave.cli.main"


def shell(project: Path, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What comes of a shell's script; CELLWAVE in it is the command."""
    env = {**os.environ, **variables}
    script = f"set -o pipefail; {script.replace('CELLWAVE', CELLWAVE)}"
    command = ["bash", "-c", script]
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("columns", ["0", "1", "20", "80", "-5", "many", "²"])
def test_no_window_is_too_narrow_to_show_everything(
    run: Run, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """Every word of a table is there, in a window of 80 columns and in any narrower one."""
    for command, wanted in (
        (("cells",), ("ap-northeast-2", "200000000006", "control")),
        (("plan",), ("ap-northeast-2", "canary", "storage")),
        (("--help",), ("Usage", "rollout", "Release")),
    ):
        monkeypatch.setenv("COLUMNS", columns)
        shown = run(*command)
        assert shown.code == 0
        words = "".join(char for char in shown.out if char.isalnum() or char == "-").lower()
        assert [word for word in wanted if word.lower() not in words] == []
        assert "…" not in shown.out


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("CELLWAVE --help >/dev/full", 1, "No space left on device"),
        ("CELLWAVE plan nonsense 2>/dev/full", 2, ""),
        ("CELLWAVE cells <&- >&- 2>&-", 0, ""),
        ("CELLWAVE plan nonsense 2>&1 >&- | true", 2, ""),
        ("CELLWAVE cells | head -1", None, ""),
        ("CELLWAVE cells | true", 1, ""),
    ],
)
def test_streams_that_are_closed_full_or_unread_leave_no_traceback(
    project: Path, script: str, code: int | None, said: str
) -> None:
    """The exit code is the command's own, or 1 where its output was lost."""
    ran = shell(project, script)
    assert ran.returncode in ((0, 1) if code is None else (code,))
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "Exception" not in ran.stderr


def test_a_closed_stream_is_no_database(project: Path) -> None:
    """What is opened instead is /dev/null: nothing of ours can be written into by accident."""
    code = (
        "import os, sys; from cellwave.cli.show import show_anything; show_anything()\n"
        "numbers = [os.stat('/dev/null').st_rdev == os.fstat(n).st_rdev for n in (0, 1, 2)]\n"
        "sys.exit(0 if all(numbers) else 9)"
    )
    assert (
        shell(project, f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} <&- >&- 2>&-").returncode == 0
    )


@pytest.mark.parametrize("mask", ["777", "277"])
def test_no_mask_of_a_shell_shuts_its_owner_out(project: Path, mask: str) -> None:
    """A release is built and read, and others read nothing in the home."""
    ran = shell(project, f"umask {mask}; CELLWAVE release build --version v1 && CELLWAVE release list --json")
    assert ran.returncode == 0, ran.stderr
    home = Project(project).home
    assert home.stat().st_mode & 0o777 == 0o700
    for path in home.rglob("*"):
        assert path.stat().st_mode & 0o400, path


def test_a_working_directory_that_is_gone_is_said(project: Path) -> None:
    """Exit code 2."""
    ran = shell(project, "mkdir gone; cd gone; rmdir ../gone; CELLWAVE cells")
    assert ran.returncode == 2
    assert "the working directory: No such file or directory" in ran.stderr


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://u:s3cret@h/d", "postgresql+nodriver://u:s3cret@h/d", "://"]
)
def test_a_database_that_is_none_is_said(run: Run, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Exit code 2, and no word of the URL's password."""
    monkeypatch.setenv("CELLWAVE_DATABASE_URL", url)
    ran = run("rollout", "list")
    assert ran.code == 2
    assert "error: CELLWAVE_DATABASE_URL: " in ran.err
    assert "s3cret" not in ran.err


def test_a_database_that_cant_be_used_is_said(
    run: Run, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 at once, whatever the command; the password is not shown, nor what a statement was about."""
    with postgres.database() as url:
        monkeypatch.setenv("CELLWAVE_DATABASE_URL", url.replace(postgres.password, "s3cret"))
        for command in (("rollout", "list"), ("journal", "verify"), ("gc",), ("cells",)):
            ran = run(*command)
            assert (ran.code, "s3cret" in ran.err, "Traceback" in ran.err) == (2, False, False), ran.err
            assert "error: the database can't be opened" in ran.err
            assert "password authentication failed" in ran.err
            assert "right would be: " in ran.err
        monkeypatch.setenv("CELLWAVE_DATABASE_URL", url)
        assert run("journal", "verify").code == 0
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("ALTER TABLE journal RENAME COLUMN text TO words")
        ran = run("journal", "verify")
        assert (ran.code, "SELECT" in ran.err, len(ran.err.splitlines())) == (1, False, 1), ran.err


@pytest.mark.parametrize(
    "variables",
    [
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TERM": "dumb", "FORCE_COLOR": "1", "NO_COLOR": "1", "CI": "1"},
        {
            "HOME": "/proc/1",
            "TMPDIR": "/nowhere",
            "XDG_CONFIG_HOME": "/dev/null",
            "XDG_CACHE_HOME": "relative",
        },
        {"PATH": "", "TZ": "Nowhere/Land", "PYTHONSTARTUP": "/nowhere.py", "PYTHONWARNINGS": "error"},
        {"CELLWAVE_HOME": "relative é home"},
        {"AWS_PROFILE": "nobody", "AWS_CONFIG_FILE": "/nowhere"},
    ],
    ids=str,
)
def test_odd_variables_change_nothing(project: Path, variables: dict[str, str]) -> None:
    """Commands that read and commands that keep something work as ever."""
    env = {**os.environ, **variables}
    code = (
        "import sys; from cellwave.cli.main import main\n"
        "for command in (['plan'], ['cells'], ['release', 'list'], ['rollout', 'list'], ['--help']):\n"
        "    sys.argv = ['cellwave', *command]\n"
        "    try: main()\n"
        "    except SystemExit as end: assert not end.code, command\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=project, env=env, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert b"Traceback" not in ran.stderr


@pytest.mark.parametrize("shadow", ["raise RuntimeError('another')", ""])
def test_a_pythonpath_that_hides_what_is_needed_is_said(project: Path, shadow: str) -> None:
    """Another module of a needed name comes first: words, and no traceback."""
    (project / "elsewhere").mkdir()
    (project / "elsewhere" / "pydantic.py").write_text(shadow)
    script = f"{shlex.quote(sys.executable)} -m cellwave.cli.start cells"
    ran = shell(project, script, PYTHONPATH=str(project / "elsewhere"))
    assert ran.returncode == 2
    assert "error: PYTHONPATH: " in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("home", "commands"),
    [
        ("/dev/null", ["rollout list"]),
        ("Pulumi.yaml", ["rollout list"]),
        ("Pulumi.yaml/x", ["rollout list"]),
        ("/tmp/" + "x" * 300, ["rollout list", "release list", "cells", "plan v1"]),
        ("circle", ["rollout list", "release list", "cells", "plan v1"]),
    ],
)
def test_a_home_that_can_be_no_folder_is_refused(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, home: str, commands: list[str]
) -> None:
    """In words, exit code 2."""
    (project / "circle").symlink_to("circle")
    monkeypatch.setenv("CELLWAVE_HOME", home)
    for command in commands:
        ran = run(*command.split())
        assert ran.code == 2, ran.err
        assert "error: CELLWAVE_HOME: " in ran.err
