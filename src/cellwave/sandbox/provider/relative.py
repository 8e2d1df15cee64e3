"""Relative paths of assets and archives: they are meant from the folder of the engine's program.

A plugin that the engine starts is started in that folder. This server is not, and the engine, which does not tell
it the folder, is found by the port that it calls from.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml.error import YAMLError

from cellwave.programs.settings import load, project_file
from cellwave.sandbox.provider.archive import Unreadable
from cellwave.sandbox.provider.values import SIGNATURE, Props


def located(inputs: Props, peer: str) -> Props:
    """The inputs with absolute paths; Unreadable where one is relative and the engine at `peer` can't be found."""

    @cache
    def folder() -> Path | None:
        return _program_of(int(peer.rpartition(":")[2] or 0))

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        if SIGNATURE in value and not Path(value.get("path", "/")).is_absolute():
            if (root := folder()) is None:
                text = "a relative path, and its program's folder can't be found; give an absolute one"
                raise Unreadable(f"{value['path']}: {text}")
            return {**value, "path": str(root / value["path"])}
        return {key: walk(item) for key, item in value.items()}

    return {key: walk(item) for key, item in inputs.items()}


def _program_of(port: int) -> Path | None:
    """The folder of the program that the engine runs which calls from this port of this machine."""
    for process in psutil.process_iter(["name"]):
        # Other users' connections are not ours to see, and a process may be gone meanwhile.
        with suppress(psutil.Error):
            if process.info["name"] == "pulumi" and any(
                connection.laddr.port == port
                for connection in process.net_connections("tcp")
                if connection.raddr
            ):
                return _program_in(Path(process.cwd()))
    return None


def _program_in(folder: Path) -> Path | None:
    """Where an engine that works in a folder starts plugins: its project's `main`, or the folder around that file."""
    for root in (folder, *folder.parents):
        if file := project_file(root):
            with suppress(OSError, ValueError, YAMLError):
                main = root / str((load(file) or {}).get("main") or ".")
                return main if main.is_dir() else main.parent
    return None
