"""The README's commands exist as they are written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer._click.core import Context
from typer.main import get_command

from cellwave.cli.main import app, load

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^\$ (.+?)(?:\s+# .*)?$", README, re.MULTILINE)


@pytest.mark.parametrize("line", [c for c in COMMANDS if c.startswith("cellwave ")])
def test_a_cellwave_command_of_the_readme_parses(line: str) -> None:
    """Its sub-command is there, its options and arguments are accepted."""
    words = shlex.split(line)[1:]
    command, context = load(words.pop(0)), Context(get_command(app))
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(command.name, words, parent=context)


@pytest.mark.parametrize("line", [c for c in COMMANDS if c.startswith("make ")])
def test_a_make_target_of_the_readme_is_there(line: str) -> None:
    """The Makefile has it."""
    assert re.search(rf"^{line.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_readme_shows_every_role_its_commands() -> None:
    """Two commands to begin with, and a tour for each role."""
    assert {"make demo", "make test"} <= set(COMMANDS)
    for role in ("Platform engineer", "Release manager", "On-call"):
        assert role in README
    assert len(COMMANDS) > 15


def test_the_links_of_the_readme_lead_somewhere() -> None:
    """Every relative link names a file of the project."""
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
