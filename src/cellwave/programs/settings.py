"""A program's project file and its stacks' settings, found where the engine finds them.

Its rule (pulumi/sdk/v3/go/common/workspace, paths.go and loaders.go): the first of Pulumi.json, Pulumi.yaml and
Pulumi.yml is the project; a stack's settings end as that does, and lie beside it or in its `stackConfigDir`, which was
once called `config`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PROJECT_FILES = ("Pulumi.json", "Pulumi.yaml", "Pulumi.yml")


def project_file(folder: Path) -> Path | None:
    """The folder's project file as the engine chooses it; None when there is none."""
    return next((folder / name for name in PROJECT_FILES if (folder / name).is_file()), None)


def project_of(folder: Path) -> dict[str, Any]:
    """What the project file of a folder says; ValueError when there is none, or it names no project."""
    file = project_file(folder)
    if file is None:
        raise ValueError(f"there is no Pulumi.yaml in {folder}")
    project = load(file)
    if not isinstance(project, dict) or not isinstance(project.get("name"), str):
        raise ValueError(f"{file} names no project")
    return project


def runtime_of(project: dict[str, Any]) -> Any:
    """The name that a project file gives its runtime, alone or among its options; whatever stands there."""
    runtime = project.get("runtime")
    return runtime.get("name") if isinstance(runtime, dict) else runtime


def settings_file(folder: Path, stack: str) -> Path:
    """The file of a stack's settings, there or not. ValueError as from `settings_place`."""
    below, ending = settings_place(folder)
    return folder / below / f"Pulumi.{stack}{ending}"


def settings_place(folder: Path) -> tuple[str, str]:
    """The folder of the settings of a program's stacks, relative to its own, and how their names end. ValueError as
    from `project_of`, or for two folders of settings."""
    project, file = project_of(folder), project_file(folder)
    assert file is not None
    below = project.get("stackConfigDir") or ""
    if isinstance(older := project.get("config"), str):
        if "stackConfigDir" in project:
            raise ValueError(f"{file} has both config and stackConfigDir: only stackConfigDir is the folder")
        below = older
    return str(below), file.suffix


def configured(file: Path) -> dict[str, Any]:
    """A stack's settings when they hold configuration, else {}: what the engine wrote by itself may be of another
    backend's stack. ValueError or ruamel's YAMLError for a file that says nothing of the kind."""
    settings = (load(file) or {}) if file.is_file() else {}
    if not isinstance(settings, dict):
        raise ValueError(f"{file} holds no mapping")
    return settings if settings.get("config") else {}


def load(file: Path) -> Any:
    """What a JSON or YAML file says; ValueError or ruamel's YAMLError when it is none. A byte-order mark is no text."""
    text = file.read_text("utf-8-sig")
    return (
        (json.loads(text) if text.strip() else None)
        if file.suffix == ".json"
        else YAML(typ="safe").load(text)
    )
