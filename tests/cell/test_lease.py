"""A literal `pulumi up` of a program through `cellwave.cell` asks whose the cell is, before it changes anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellwave.rollout.leases import process_owner
from cellwave.rollout.records import Records
from tests.story.test_other_service import FILES
from tests.toolchain.test_language_host import Shell

PROGRAM = '''"""What a cell carries, told by cellwave's own building blocks."""
import pulumi
from cellwave.cell import context

here = context()

class Thing(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("test:index:Thing", name)
        self.register_outputs({})

Thing(here.cell.name)
pulumi.export("runs", here.inputs)
'''


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Stack `two.hello` of a project, in a shell with a home of its own."""
    folder, state = tmp_path / "project", tmp_path / "state"
    state.mkdir()
    for name, text in {**FILES, "hello/__main__.py": PROGRAM}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    made = Shell(folder / "hello", state)
    made.environment = {k: v for k, v in made.environment.items() if not k.startswith("CELLWAVE_")}
    made.environment["CELLWAVE_HOME"] = str(tmp_path / "own")
    assert made.pulumi("stack", "init", "two.hello").returncode == 0
    return made


@pytest.fixture
def records(shell: Shell) -> Records:
    """The project's database."""
    home = Path(shell.environment["CELLWAVE_HOME"])
    home.mkdir()
    return Records(f"sqlite:///{home / 'cellwave.db'}")


def up(shell: Shell, *flags: str) -> subprocess.CompletedProcess[str]:
    """As a person types it."""
    return shell.pulumi("up", "--yes", "--non-interactive", *flags)


def resources(shell: Shell) -> list[str]:
    """The types of what the stack's state has."""
    exported = json.loads(shell.pulumi("stack", "export").stdout)
    return [resource["type"] for resource in exported["deployment"].get("resources", ())]


@pytest.mark.engine
@pytest.mark.parametrize("living", [False, True])
def test_a_leased_cell_is_refused_with_its_owner_s_name(shell: Shell, records: Records, living: bool) -> None:
    """A rollout's, or a command's that still runs: who has it, since when, and how to get it; nothing is changed."""
    records.lease(["two"], process_owner("ann") if living else "v2-1")
    refused = up(shell)
    assert refused.returncode != 0
    assert "two is leased to" in refused.stdout, refused.stdout + refused.stderr
    assert ("ask ann to end it" if living else "cellwave rollout rollback v2-1") in refused.stdout
    assert " since 20" in refused.stdout
    assert "test:index:Thing" not in resources(shell)
    assert shell.pulumi("preview").returncode == 0, "a preview changes nothing"


@pytest.mark.engine
@pytest.mark.parametrize("leased", ["one", "of the dead", "", "no database", "no project"])
def test_a_free_cell_is_deployed(shell: Shell, request: pytest.FixtureRequest, leased: str) -> None:
    """Another cell's lease, and one of a process that has ended, are in nobody's way; without records nothing is."""
    if leased == "no project":
        (shell.folder.parent / "waves.yaml").unlink()
    elif leased != "no database":
        records: Records = request.getfixturevalue("records")
        if leased == "one":
            records.lease(["one"], "v2-1")
        if leased == "of the dead":
            host = process_owner("ann").split(":")[2]
            records.lease(["two"], f"up:ann:{host}:{2**22 + 1}:1.00")
    done = up(shell, "--skip-preview")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout
    assert "test:index:Thing" in resources(shell)


@pytest.mark.engine
def test_what_can_not_be_asked_is_warned_of(shell: Shell) -> None:
    """A database that is away keeps nobody from deploying by hand."""
    done = shell.pulumi(
        "up", "--yes", "--skip-preview", CELLWAVE_DATABASE_URL="postgresql+psycopg://nobody@127.0.0.1:1/none"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "whether somebody is changing two can't be known" in done.stdout


def test_whose_a_cell_is_is_told(shell: Shell, records: Records) -> None:
    """`cellwave lease`, for people and for programs."""

    def lease(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "cellwave.cli.start", "lease", "two", *arguments],
            cwd=shell.folder,
            env={**os.environ, **shell.environment},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert (lease(), json.loads(lease("--json"))) == ("two is free\n", None)
    records.lease(["two"], "v2-1")
    assert lease().startswith("two is leased to rollout v2-1")
    assert json.loads(lease("--json"))["cell"] == "two"
