"""Which languages programs can be written in here: the engine runs each by a language host of its own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

PREFIX = "pulumi-language-"
PYTHON = "python"  # cellwave brings a host for it
PULUMI_YAML = "yaml"  # `make yaml` builds a host for it


def find_host(runtime: str, bin_folder: Path, environment: Mapping[str, str]) -> Path | None:
    """The language host that the engine would start for a runtime: on PATH, among the project's own tools, beside the
    engine, or among Pulumi's installed plugins; None when there is none."""
    path = environment.get("PATH", "")
    engine = shutil.which("pulumi", path=path)
    beside = [str(bin_folder), *([str(Path(engine).resolve().parent)] if engine else [])]
    if found := shutil.which(f"{PREFIX}{runtime}", path=":".join([path, *beside])):
        return Path(found)
    home = Path(environment.get("PULUMI_HOME") or Path.home() / ".pulumi")
    return next(home.glob(f"plugins/language-{runtime}-v*/{PREFIX}{runtime}"), None)
