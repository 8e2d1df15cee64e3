"""The customers of the demo: the product's own commands, which demo/demo.yaml names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, ValidationError

from cellwave.errors import BadInput, CellwaveError
from cellwave.fleet.yamlfile import read, validate
from cellwave.frozen import Frozen
from cellwave.processes import Proc, spawn, stop
from cellwave.project import Project

DECLARED = "demo/demo.yaml"
END_WITHIN_S = 120.0  # an action may take several requests, and a slow service takes its time for each
Argv = Annotated[tuple[str, ...], Field(min_length=1)]


class Commands(Frozen):
    """How customers are made, how they make traffic, and how it is looked at afterwards; see demo/demo.yaml."""

    prepare: Argv
    traffic: Argv
    verify: Argv
    cross: Argv


class _File(Frozen):
    customers: Commands


class Verified(Frozen):
    """How much was accepted from customers, how much of it is gone, how much is found under another's name."""

    accepted: int
    lost: int
    misplaced: int


class Crossed(Frozen):
    """How much customers read of their own (0 would prove nothing), their attempts on others', and what these gave."""

    own: int
    attempts: int
    reads: int


A = TypeVar("A", bound=Frozen)


def read_commands(project: Project) -> Commands:
    """What demo/demo.yaml declares; BadInput names file and line."""
    file = project.root / DECLARED
    if not file.is_file():
        raise BadInput(
            DECLARED, "there is no such file", "a file that names the commands of the demo's customers"
        )
    return validate(_File, read(file.read_text(), DECLARED)).customers


class Customers:
    """They work in `folder`. Their traffic survives nobody, not even a killed demo (the next one ends it)."""

    def __init__(
        self, project: Project, environment: Mapping[str, str], commands: Commands, folder: Path
    ) -> None:
        self._root = project.root
        self._environment = {**environment, "PYTHONPATH": str(project.root / "src")}
        self._commands = commands
        self._folder = folder

    def prepare(self) -> None:
        """Make them; CellwaveError with the command's own words when that fails."""
        self._run(self._commands.prepare)

    def begin(self) -> None:
        """Start their traffic."""
        # `spawn` has no working directory of its own to give.
        argv = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(self._root), *self._argv(self._commands.traffic)]
        process = spawn(argv, self._environment, self._folder / "traffic.log")
        _pid(self._folder).write_text(process.model_dump_json())

    def end(self) -> None:
        """Let what is in flight finish, and stop."""
        end_leftover(self._folder, grace_s=END_WITHIN_S)

    def verify(self) -> Verified:
        """Look for all that was accepted."""
        return self._told(Verified, self._commands.verify)

    def cross(self) -> Crossed:
        """Try to read what belongs to others."""
        return self._told(Crossed, self._commands.cross)

    def _told(self, model: type[A], command: Argv) -> A:
        text = self._run(command)
        try:
            return model.model_validate_json(text)
        except ValidationError:
            expected = ", ".join(f'"{name}": n' for name in model.model_fields)
            raise CellwaveError(f"{' '.join(command)} told {text.strip()!r}, not {{{expected}}}") from None

    def _run(self, command: Argv) -> str:
        run = subprocess.run(
            self._argv(command),
            cwd=self._root,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            raise CellwaveError(f"{' '.join(command)}: {run.stderr.strip() or f'exit code {run.returncode}'}")
        return run.stdout

    def _argv(self, command: Argv) -> list[str]:
        program = sys.executable if command[0] == "python" else command[0]
        return [program, *command[1:], str(self._folder)]


def end_leftover(folder: Path, *, grace_s: float = 10.0) -> None:
    """Stop the traffic of a demo, one that was killed too."""
    file = _pid(folder)
    if file.exists():
        stop(Proc.model_validate_json(file.read_text()), grace_s=grace_s)
        file.unlink()


def _pid(folder: Path) -> Path:
    return folder / "traffic.json"
