"""Can the services' programs be run here? Asked when a release is built or planned, not when a cell is half changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from cellwave.errors import BadInput
from cellwave.fleet.model import Service
from cellwave.programs.packages import NoLock, find_packages
from cellwave.programs.settings import project_file, runtime_of
from cellwave.project import Project
from cellwave.toolchain.hosts import PREFIX, PULUMI_YAML, PYTHON, find_host

HasHost = Callable[[str], bool]


def check_programs_here(project: Project, root: Path, services: Iterable[Service]) -> None:
    """`check_programs` of what is below `root`, with the language hosts that the project's engine finds here."""
    check_programs(root, services, lambda name: find_host(name, project.bin, os.environ) is not None)


def check_programs(root: Path, services: Iterable[Service], has_host: HasHost) -> None:
    """BadInput, by file and line, for a program that could not be run: its Pulumi.yaml is none, or names a runtime
    without a host, or there is no Python program where it says."""
    for program in dict.fromkeys(service.program for service in services):
        _check(root, program, has_host)


def _check(root: Path, program: str, has_host: HasHost) -> None:
    folder = (root / program).resolve()
    file = project_file(folder) or folder / "Pulumi.yaml"
    shown = (Path(program) / file.name).as_posix()
    project = _read(file, shown)

    def bad(key: str, found: str, expected: str) -> BadInput:
        line = project.lc.key(key)[0] + 1 if key in project else 1
        return BadInput(f"{shown}:{line}", found, expected)

    if not isinstance(project.get("name"), str):
        raise bad("name", "it names no project", "name: … at the top level")
    name = runtime_of(project)
    if not isinstance(name, str) or not name:
        raise bad("runtime", "it names no runtime", "runtime: python, or another language's")
    try:
        find_packages(folder, project)
    except NoLock as error:
        raise bad("runtime", error.found, error.expected) from None
    if name != PYTHON:
        if not has_host(name):
            found = f"a {name} program, but there is no {PREFIX}{name} here"
            right = f"{PREFIX}{name} on PATH, as Pulumi's own installer brings it"
            raise bad("runtime", found, f"{right}, or built by `make yaml`" if name == PULUMI_YAML else right)
        return
    main = (folder / str(project.get("main", "."))).resolve()
    target = main / "__main__.py" if main.is_dir() else main
    if not target.is_file():
        raise bad(
            "main",
            f"a Python program, but there is no {_within(target, root)}",
            "the program's folder or file",
        )


def _read(path: Path, shown: str) -> Any:
    try:
        project = YAML(typ="rt").load(path.read_text("utf-8-sig"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadInput(f"{shown}:{line}", f"broken YAML: {error.problem}", "a Pulumi project file") from None
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise BadInput(shown, f"it can't be read: {error}", "a Pulumi project file") from None
    if not isinstance(project, dict):
        raise BadInput(f"{shown}:1", "no mapping", "a Pulumi project file (name: …, runtime: …)")
    return project


def _within(path: Path, root: Path) -> str:
    return path.relative_to(root.resolve()).as_posix() if path.is_relative_to(root.resolve()) else str(path)
