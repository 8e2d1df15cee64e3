"""A literal `pulumi up` of any Python program, with the engine's missing language host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cellwave.project import find_project
from cellwave.toolchain.engine import require_engine
from cellwave.toolchain.language_host import forget_packages

pytestmark = pytest.mark.engine

PROGRAM = """
import os
import time
import pulumi
from words import GREETING

class Thing(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("test:index:Thing", name)
        self.register_outputs({})

Thing("one")
time.sleep(float(os.environ.get("SLEEP", "0")))
if os.environ.get("BREAK") == "raise":
    raise ValueError("broken on purpose")
if os.environ.get("BREAK") == "exit":
    raise SystemExit(3)
print("printed by the program")
pulumi.export("greeting", GREETING)
pulumi.export("folder", os.path.basename(os.getcwd()))
"""


class Shell:
    """A folder with a program, and the engine's command line as a person types it."""

    def __init__(self, folder: Path, backend: Path) -> None:
        project = find_project(Path(__file__).parent)
        self.folder = folder
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PULUMI_", "AWS_"))},
            "PATH": f"{project.bin}:{os.environ['PATH']}",
            "PULUMI_BACKEND_URL": backend.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_HOME": str(backend.parent / "home"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        self.engine = str(require_engine(project).path)

    def pulumi(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [self.engine, *arguments],
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A stack `a.b` of a program in `src/program`, which imports from `src`."""
    folder, backend = tmp_path / "project", tmp_path / "state"
    backend.mkdir()
    (folder / "src" / "program").mkdir(parents=True)
    (folder / "Pulumi.yaml").write_text("name: tiny\nruntime: python\nmain: src/program\n")
    (folder / "src" / "words.py").write_text('GREETING = "hello"\n')
    (folder / "src" / "program" / "__main__.py").write_text(PROGRAM)
    shell = Shell(folder, backend)
    made = shell.pulumi("stack", "init", "a.b")
    assert made.returncode == 0, made.stderr
    return shell


def test_up_preview_refresh_and_destroy(shell: Shell) -> None:
    """The four commands work as with any language host; the program runs in its own folder."""
    up = shell.pulumi("up", "--yes")
    assert up.returncode == 0, up.stdout + up.stderr
    assert "printed by the program" in up.stdout
    assert shell.pulumi("stack", "output", "greeting").stdout.strip() == "hello"
    assert shell.pulumi("stack", "output", "folder").stdout.strip() == "program"
    assert "2 unchanged" in shell.pulumi("preview").stdout
    assert shell.pulumi("refresh", "--yes").returncode == 0
    destroy = shell.pulumi("destroy", "--yes")
    assert "2 deleted" in destroy.stdout, destroy.stdout + destroy.stderr


def test_a_program_s_error_is_told_once(shell: Shell) -> None:
    """The traceback begins in the program, is printed once, and the command fails."""
    failed = shell.pulumi("up", "--yes", "--skip-preview", "--suppress-progress", BREAK="raise")
    said = failed.stdout + failed.stderr
    assert failed.returncode != 0
    assert said.count("ValueError: broken on purpose") == 1
    assert "language_host" not in said
    assert "runpy" not in said


def test_leaving_with_a_code_is_a_failure(shell: Shell) -> None:
    """A program that exits with a code fails the command."""
    failed = shell.pulumi("up", "--yes", "--skip-preview", BREAK="exit")
    assert failed.returncode != 0
    assert "exit code 3" in failed.stdout


def test_a_missing_program_is_named(shell: Shell) -> None:
    """A folder without a __main__.py is said by name."""
    (shell.folder / "src" / "program" / "__main__.py").unlink()
    failed = shell.pulumi("up", "--yes", "--skip-preview")
    assert failed.returncode != 0
    assert "there is no Python program at" in failed.stdout


def test_a_file_can_be_the_program(shell: Shell) -> None:
    """`main:` may name a file."""
    (shell.folder / "Pulumi.yaml").write_text("name: tiny\nruntime: python\nmain: src/program/__main__.py\n")
    assert shell.pulumi("preview").returncode == 0


def test_an_interrupt_ends_without_a_traceback(shell: Shell) -> None:
    """Ctrl-C while the program runs: engine and host leave, and no Python traceback is shown."""
    process = subprocess.Popen(
        [shell.engine, "up", "--yes", "--skip-preview", "--non-interactive"],
        cwd=shell.folder,
        env={**shell.environment, "SLEEP": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "Thing" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    said += process.communicate(timeout=60)[0]
    assert "Traceback" not in said
    assert process.returncode != 0


def test_a_host_leaves_with_its_engine() -> None:
    """A host whose engine was killed does not stay behind."""
    starter = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'cellwave.toolchain.language_host', "
    starter += "'127.0.0.1:1'], stdout=subprocess.PIPE); p.stdout.readline(); print(p.pid, flush=True)"
    done = subprocess.run(
        [sys.executable, "-c", starter], capture_output=True, text=True, check=True, timeout=60
    )
    pid, end = int(done.stdout), time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("the host is still there")


def test_an_older_python_forgets_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This file is run by programs' own Pythons too, and 3.9 does not tell its standard library."""
    (tmp_path / "json.py").touch()
    monkeypatch.delattr(sys, "stdlib_module_names")
    forget_packages([str(tmp_path)])
    assert "json" in sys.modules
