"""A project of another team: one service, in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from cellwave.project import Project

FILES = {
    "cells/fleet.yaml": """\
services:
  greeter:
    program: deploy
    include: [deploy, lib]
    code: [src/greeter]
    proof: {http: "{outputs[url]}"}
  marker:
    program: deploy
    proof: {parameter: /greeter}
""",
    "cells/us.yaml": """\
region: us
endpoint: us.example
residency: United States
cells:
  - {name: one, account: "000000000001", aws_region: us-east-1}
""",
    "waves.yaml": "waves:\n  - {name: all, cells: [one]}\n",
    "deploy/Pulumi.yaml": "name: greeter\nruntime: python\n",
    "deploy/__main__.py": "import greeter\n",
    "lib/data.bin": "\x00\x01",
    "src/greeter/app.py": "def handler(event, context):\n    return 'hello'\n",
    "src/greeter/notes.md": "not code\n",
    "elsewhere/other.txt": "not of the release\n",
}


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write texts below a folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The other team's project, with a home of its own."""
    monkeypatch.setenv("CELLWAVE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CELLWAVE_RELEASES", raising=False)
    root = tmp_path / "project"
    write(root, FILES)
    return Project(root)
