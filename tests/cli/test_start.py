"""What a command line loads before it does anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cellwave.cli.main import COMMANDS, load

HEAVY = {
    "alembic", "boto3", "botocore", "dbos", "grpc", "httpx", "networkx", "numpy", "psutil", "pulumi", "scipy",
    "sqlalchemy", "structlog",
}  # fmt: skip


def loaded(*arguments: str, prints: str = "Usage: ") -> set[str]:
    """The packages that a command line has imported when it has ended."""
    told = "import sys, cellwave.cli.main as m\n"
    told += f"sys.argv = {['cellwave', *arguments]!r}\n"
    told += "try: m.main()\nfinally: print(' '.join(sys.modules), file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, timeout=60)
    assert prints in ran.stdout
    return {name.partition(".")[0] for name in ran.stderr.split()}


def test_help_loads_nothing_heavy() -> None:
    """Whoever asks what there is waits for no database, no AWS and no engine, and for no values either."""
    assert loaded("--help") & {*HEAVY, "pydantic", "yaml"} == set()


def test_help_lists_what_products_bring_and_loads_none_of_it() -> None:
    """A product's commands stand behind its name, as an entry point says."""
    assert "audit" not in loaded("--help", prints="│ audit ")


def test_the_help_of_plan_loads_nothing_that_makes_one() -> None:
    """(typer itself loads pydantic for a command.)"""
    assert loaded("plan", "--help") & {*HEAVY, "yaml", "ruamel"} == set()


@pytest.mark.usefixtures("project")
def test_a_plan_of_the_working_tree_loads_nothing_heavy() -> None:
    """A plan is made of files: it needs no database, no AWS and no engine, nor what draws a help's text."""
    assert loaded("plan", prints="cells in") & {*HEAVY, "markdown_it", "pygments"} == set()


def test_a_rollout_is_started_and_looked_at_without_what_judges_or_deploys() -> None:
    """That is the worker's: a command loads the database, and what reads it."""
    assert loaded("rollout", "start", "--help") & HEAVY == {"psutil", "sqlalchemy", "structlog"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    """The first paragraph of its own help."""
    assert " ".join((load(name).help or "").split("\n\n")[0].split()) == COMMANDS[name]
