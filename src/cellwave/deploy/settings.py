"""A program's Pulumi.yaml, and where the engine looks for its stacks' settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


def project_of(folder: Path) -> dict[str, Any]:
    """What the Pulumi.yaml of a folder says; ValueError when there is none, or it names no project."""
    file = next((f for f in (folder / "Pulumi.yaml", folder / "Pulumi.yml") if f.is_file()), None)
    if file is None:
        raise ValueError(f"there is no Pulumi.yaml in {folder}")
    project = YAML(typ="safe").load(file.read_text())
    if not isinstance(project, dict) or not isinstance(project.get("name"), str):
        raise ValueError(f"{file} names no project")
    return project


def runtime_of(project: dict[str, Any]) -> Any:
    """The name that a Pulumi.yaml gives its runtime, alone or among its options; whatever stands there."""
    runtime = project.get("runtime")
    return runtime.get("name") if isinstance(runtime, dict) else runtime


def settings_file(folder: Path, project: dict[str, Any], stack: str) -> Path:
    """The file of a stack's settings: beside Pulumi.yaml, unless that says otherwise."""
    return folder / str(project.get("stackConfigDir", ".")) / f"Pulumi.{stack}.yaml"


def configured(file: Path) -> dict[str, Any]:
    """A stack's settings when they hold configuration, else {}: what the engine wrote by itself may be of another
    backend's stack."""
    settings: dict[str, Any] = (YAML(typ="safe").load(file.read_text()) or {}) if file.is_file() else {}
    return settings if settings.get("config") else {}
