"""The demo's customers are whatever commands demo/demo.yaml names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cellwave.demo.customers import Commands, Customers, end_leftover, read_commands
from cellwave.errors import BadInput, CellwaveError
from cellwave.processes import Proc, alive
from cellwave.project import Project, find_project
from tests.sandbox.aws import until

TRAFFIC = "import os, sys, time; open(sys.argv[1] + '/at', 'w').write(os.getcwd()); time.sleep(600)"


def shown(text: str) -> tuple[str, ...]:
    """A command that prints this."""
    return ("python", "-c", f"print({text!r})")


def commands(**changed: tuple[str, ...]) -> Commands:
    """Commands that do nothing wrong, but for the changed ones."""
    verified = shown(json.dumps({"accepted": 3, "lost": 1, "misplaced": 0}))
    crossed = shown(json.dumps({"own": 2, "attempts": 5, "reads": 0}))
    made = {
        "prepare": shown("{}"),
        "traffic": ("python", "-c", TRAFFIC),
        "verify": verified,
        "cross": crossed,
    }
    return Commands(**{**made, **changed})


def test_this_project_declares_its_customers() -> None:
    """All four commands are named, and run on the Python that runs cellwave."""
    declared = read_commands(find_project(Path(__file__).parent))
    assert {command[0] for command in declared.model_dump().values()} == {"python"}


@pytest.mark.parametrize(
    ("text", "where"),
    [(None, "demo.yaml"), ("customers: {prepare: []}\n", "demo.yaml:1"), ("customer: {}\n", "demo.yaml:1")],
)
def test_a_wrong_declaration_is_named(tmp_path: Path, text: str | None, where: str) -> None:
    """No file, a missing command, an unknown key: the file, and the line where there is one."""
    if text is not None:
        (tmp_path / "demo").mkdir()
        (tmp_path / "demo" / "demo.yaml").write_text(text)
    with pytest.raises(BadInput, match=where):
        read_commands(Project(tmp_path))


def test_what_the_commands_tell_is_read(tmp_path: Path) -> None:
    """Their JSON counts; a failure is told in the command's own words, and what is no such JSON as what it is."""
    customers = Customers(Project(tmp_path), {}, commands(), tmp_path)
    assert (customers.verify().accepted, customers.verify().lost, customers.cross().attempts) == (3, 1, 5)
    failing = commands(prepare=("python", "-c", "raise SystemExit('no keys today')"), cross=shown("many"))
    customers = Customers(Project(tmp_path), {}, failing, tmp_path)
    with pytest.raises(CellwaveError, match="no keys today"):
        customers.prepare()
    with pytest.raises(CellwaveError, match="told 'many', not"):
        customers.cross()


def test_traffic_runs_in_the_project_and_is_ended_by_whoever_comes_next(tmp_path: Path) -> None:
    """A demo that was killed leaves its traffic running: the next one finds and ends it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    Customers(Project(tmp_path), {}, commands(), folder).begin()
    until("at work", lambda: (folder / "at").exists() and (folder / "at").read_text())
    assert Path((folder / "at").read_text()).samefile(tmp_path)
    process = Proc.model_validate_json((folder / "traffic.json").read_text())
    assert alive(process)
    end_leftover(folder)
    assert not alive(process)
    end_leftover(folder)
